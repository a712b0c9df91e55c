"""Exit codes and outputs of the real program, against ports of loopback."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.program import FLEETPROBE, closed_port, environment, listener, port_of, records, run, start
from tests.layers.chain_world import authority


def kinds(text: str) -> list[str]:
    return [record["kind"] for record in records(text)]


def accepted(server: socket.socket) -> bool:
    """Whether anybody connected."""
    try:
        connection, _ = server.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


def test_zero_when_every_target_is_well() -> None:
    with listener() as server:
        done = run("scan", f"tcp://127.0.0.1:{port_of(server)}")
        assert accepted(server)
    assert (done.returncode, done.stderr) == (0, "")
    assert kinds(done.stdout) == ["run_start", "result", "run_end"]


def test_one_when_a_target_failed() -> None:
    with closed_port() as port:
        done = run("scan", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert records(done.stdout)[1]["code"] == "tcp.refused"


def test_two_and_nothing_sent_when_the_list_of_intermediates_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "list.pem"
    path.write_text("# a list\n-----BEGIN CERTIFICATE-----\n")
    with listener() as server:
        done = run("scan", "--intermediates", str(path), f"tcp://127.0.0.1:{port_of(server)}")
        assert not accepted(server)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fleetprobe: the list {path} is broken: line 2 begins no certificate in PEM\n"


def test_what_a_list_of_intermediates_brought_stands_in_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "list.pem"
    path.write_bytes(authority("Root").certificate.public_bytes(Encoding.PEM))
    with listener() as server:
        done = run("scan", "--intermediates", str(path), f"tcp://127.0.0.1:{port_of(server)}")
    facts = records(done.stdout)[0]["vantage_facts"]
    assert facts["intermediates"].items() >= {"source": str(path), "count": 1, "skipped": 0}.items()
    assert len(facts["intermediates"]["sha256"]) == 64
    assert facts["pool"] == {"source": None, "count": 0}


def test_two_and_one_clear_line_when_no_line_names_a_target() -> None:
    done = run("scan", "-i", "-", stdin="host:0\n\n")
    assert done.returncode == 2
    assert done.stderr.startswith("fleetprobe: nothing to scan: no line names a target; stdin:1: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--no-such-flag"],
        ["--rate", "fast", "127.0.0.1:1"],
        ["--per-host", "1,2", "127.0.0.1:1"],
        ["--allow", "10.0.0.1/8", "127.0.0.1:1"],
        ["--deny", "everything", "127.0.0.1:1"],
        ["--resolver", "dns.example", "127.0.0.1:1"],
        ["--map", "host", "127.0.0.1:1"],
        ["--map", "hos=name", "127.0.0.1:1"],
        ["--timeout", "0", "127.0.0.1:1"],
        ["--family", "5", "127.0.0.1:1"],
        ["--ca-file", "/dev/null", "127.0.0.1:1"],
        ["-i", "/no/such/inventory", "127.0.0.1:1"],
        ["-i", "/", "127.0.0.1:1"],
        ["-i", "-", "-i", "-"],
        ["-o", "-", "--format", "human", "127.0.0.1:1"],
    ],
    ids=" ".join,
)
def test_two_for_flags_that_mean_nothing(args: list[str]) -> None:
    done = run("scan", *args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_three_when_a_line_is_bad_although_the_others_are_well() -> None:
    with listener() as server:
        done = run("scan", "-i", "-", stdin=f"tcp://127.0.0.1:{port_of(server)}\nhost:65536\n")
    assert done.returncode == 3
    assert sorted(str(record.get("code")) for record in records(done.stdout)) == [
        "None",
        "None",
        "None",
        "input.invalid",
    ]


def test_three_when_the_deadline_ended_the_run() -> None:
    with closed_port() as port:
        lines = "".join(f"http://127.0.0.1:{port}/{number}\n" for number in range(300))
        done = run("scan", "-i", "-", "--rate", "20", "--deadline", "0.5", "--grace", "0", stdin=lines)
    end = records(done.stdout)[-1]
    assert (done.returncode, end["outcome"], end["exit_code"]) == (3, "deadline", 3)


def test_a_denied_line_changes_nothing_and_is_not_touched() -> None:
    with listener() as server, listener() as other:
        lines = f"tcp://127.0.0.1:{port_of(server)}\ntcp://127.0.0.2:{port_of(other)}\n"
        done = run("scan", "-i", "-", "--deny", "127.0.0.2", stdin=lines)
        assert accepted(server)
        assert not accepted(other)
    assert done.returncode == 0
    assert "policy.denied" in {record.get("code") for record in records(done.stdout)}


@pytest.mark.parametrize("output", ["/dev/full", "/no/such/folder/out.jsonl"])
def test_seventy_four_when_the_output_cannot_be_written(output: str) -> None:
    with closed_port() as port:
        done = run("scan", f"127.0.0.1:{port}", "-o", output, "-q")
    assert done.returncode == 74
    assert done.stderr.startswith("fleetprobe: ")


def test_seventy_five_when_another_run_holds_the_output(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with path.open("wb") as held, listener() as server:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = run("scan", f"tcp://127.0.0.1:{port_of(server)}", "-o", str(path))
        assert not accepted(server)
    assert done.returncode == 75


def test_an_output_that_holds_something_is_refused_and_nothing_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    with listener() as server:
        done = run("scan", f"tcp://127.0.0.1:{port_of(server)}", "-o", str(path))
        assert not accepted(server)
    assert done.returncode == 2
    assert "--append" in done.stderr
    assert path.read_text() == "precious\n"


def test_append_adds_a_segment_and_cuts_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with closed_port() as port:
        assert run("scan", f"127.0.0.1:{port}", "-o", str(path)).returncode == 1
        with path.open("a") as file:
            file.write('{"torn": ')
        assert run("scan", f"127.0.0.1:{port}", "-o", str(path), "--append").returncode == 1
    assert kinds(path.read_text()) == ["run_start", "result", "run_end"] * 2


def test_standard_output_gets_json_lines_beside_a_file_unless_told_to_be_quiet(tmp_path: Path) -> None:
    with closed_port() as port:
        both = run("scan", f"127.0.0.1:{port}", "-o", str(tmp_path / "a"))
        quiet = run("scan", f"127.0.0.1:{port}", "-o", str(tmp_path / "b"), "-q")
        human = run("scan", f"127.0.0.1:{port}", "-o", str(tmp_path / "c"), "--format", "human")
    assert both.stdout == (tmp_path / "a").read_text()
    assert quiet.stdout == ""
    assert kinds((tmp_path / "b").read_text()) == ["run_start", "result", "run_end"]
    assert "tcp.refused  1  observed" in human.stdout
    assert f"records in {tmp_path / 'c'}" in human.stdout.replace("\n", " ")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_by_its_name_is_standard_output_and_gets_each_line_once(name: str) -> None:
    with closed_port() as port:
        done = run("scan", f"127.0.0.1:{port}", "-o", name)
    assert (done.returncode, done.stderr) == (1, "")
    assert kinds(done.stdout) == ["run_start", "result", "run_end"]


def test_standard_output_by_its_name_cannot_hold_the_human_view_as_well() -> None:
    assert run("scan", "127.0.0.1:1", "-o", "/dev/stdout", "--format", "human").returncode == 2


def test_standard_error_by_its_name_gets_the_records() -> None:
    with closed_port() as port:
        done = run("scan", f"127.0.0.1:{port}", "-o", "/dev/stderr", "-q")
    assert (done.returncode, done.stdout) == (1, "")
    assert kinds(done.stderr) == ["run_start", "result", "run_end"]


def test_a_process_substitution_of_the_shell_gets_the_records(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with closed_port() as port:
        # The shell gives the pipe as /dev/fd/N, and the writing end to nobody else.
        words = [*FLEETPROBE, "scan", f"127.0.0.1:{port}", "-q"]
        script = f"{shlex.join(words)} -o >(cat > {shlex.quote(str(path))}); code=$?; wait $!; exit $code"
        done = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert kinds(path.read_text()) == ["run_start", "result", "run_end"]


def test_a_named_pipe_and_the_null_device_are_outputs(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with closed_port() as port:
        process = start("scan", f"127.0.0.1:{port}", "-o", str(fifo), "-q")
        told = fifo.read_text()
        _, stderr = process.communicate(timeout=60)
        nowhere = run("scan", f"127.0.0.1:{port}", "-o", "/dev/null", "-q")
    assert (process.returncode, stderr) == (1, b"")
    assert kinds(told) == ["run_start", "result", "run_end"]
    assert (nowhere.returncode, nowhere.stdout, nowhere.stderr) == (1, "", "")


@pytest.mark.parametrize("indent", [None, 2], ids=["jq -c", "jq"])
def test_the_failures_of_a_scan_piped_back_are_the_very_same_targets(indent: int | None) -> None:
    with closed_port() as port, listener() as server:
        fields = [
            {"target": f"http://localhost:{port}/health?x=1", "host_header": "a.test", "labels": {"env": "prod"}},
            {"target": f"tls://a.test:{port}", "sni": "b.test", "connect_to": "127.0.0.1"},
            {"target": f"127.0.0.1:{port}"},
            {"target": f"tcp://127.0.0.1:{port_of(server)}"},
        ]
        first = run("scan", "-i", "-", stdin="\n".join(map(json.dumps, fields)))
        kept = [row for row in records(first.stdout) if row["kind"] != "result" or row["state"] == "fail"]
        again = run("scan", "-i", "-", stdin="\n".join(json.dumps(row, indent=indent) for row in kept))
    columns = ("target_id", "target", "path", "sni", "host_header", "connect_to", "labels", "state", "code")

    def told(rows: list[dict[str, Any]]) -> list[list[Any]]:
        return sorted(
            ([row[name] for name in columns] for row in rows if row["kind"] == "result"), key=lambda told: told[0]
        )

    assert (first.returncode, again.returncode) == (1, 1)
    assert len(told(kept)) == 3
    assert told(records(again.stdout)) == told(kept)


def test_every_line_of_a_scan_from_a_pipe_follows_the_schema() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(run("schema").stdout))
    with closed_port() as port, listener() as server:
        lines = f"127.0.0.1:{port}\ntcp://127.0.0.1:{port_of(server)}\n\x1b[2J:0\nhttp://localhost:{port}/x\n"
        done = run("scan", "-i", "-", "-o", "-", stdin=lines)
    found = records(done.stdout)
    assert len(found) == 6
    for record in found:
        validator.validate(record)


def test_a_reader_that_goes_away_stops_the_scan_without_a_word() -> None:
    with closed_port() as port:
        lines = "".join(f"http://127.0.0.1:{port}/{number}\n" for number in range(3000)).encode()
        with subprocess.Popen(
            [*FLEETPROBE, "scan", "-i", "-", "--rate", "0", "--per-host", "0", "--per-prefix", "0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write(lines)
            process.stdin.close()
            process.stdout.readline()
            process.stdout.close()
            stderr = process.stderr.read()
            code = process.wait(timeout=60)
    assert (code, stderr) == (141, b"")


@pytest.mark.parametrize("args", [["codes"], ["schema"], ["explain", "tls.expired"]])
def test_a_full_disk_or_a_closed_reader_is_never_a_traceback(args: list[str]) -> None:
    with open("/dev/full", "w") as full:
        process = start(*args, stdout=full)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 74
    assert b"Traceback" not in stderr
    reading, writing = os.pipe()
    os.close(reading)
    process = start(*args, stdout=writing)
    os.close(writing)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (141, b"")


def test_secrets_are_not_recorded_in_the_arguments() -> None:
    done = run("scan", "https://user:secret@127.0.0.1:1", "127.0.0.1:1")
    assert "secret" not in done.stdout + done.stderr
    assert "***@127.0.0.1:1" in records(done.stdout)[0]["argv"]


def test_dry_run_counts_and_neither_sends_nor_writes(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with listener() as server:
        target = f"tcp://127.0.0.1:{port_of(server)}"
        done = run(
            "scan",
            target,
            target,
            "https://name.example",
            "127.0.0.1:0",
            "--dry-run",
            "-o",
            str(path),
            "--deny",
            "127.0.0.0/8",
        )
        assert not accepted(server)
    assert done.returncode == 3
    told = " ".join(done.stdout.split())
    assert told == "targets 2 https 1 tcp 1 by name 1 by address 1 denied 1 duplicates 1 bad lines 1"
    assert not path.exists()


def test_check_draws_one_target_and_has_the_exit_codes_of_a_scan() -> None:
    with closed_port() as port:
        human = run("check", f"127.0.0.1:{port}", "--format", "human")
        piped = run("check", f"127.0.0.1:{port}")
    assert (human.returncode, piped.returncode) == (1, 1)
    assert "FAIL" in human.stdout
    assert "verify by hand" in human.stdout
    assert kinds(piped.stdout) == ["run_start", "result", "run_end"]
    assert run("check", "127.0.0.1:0", "--format", "human").stderr.startswith("fleetprobe: port '0' is zero")
    assert run("check", "192.0.2.0/24:443", "--format", "human").returncode == 2
