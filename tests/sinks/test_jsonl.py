"""The JSONL file holds whole lines only, belongs to one run at a time, and is never overwritten."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprobe.sinks.jsonl import JsonlSink, OutputError, OutputExists, OutputLocked, is_stdout


def lines(count: int) -> list[bytes]:
    return [json.dumps({"seq": n, "pad": "x" * (n % 50)}).encode() + b"\n" for n in range(count)]


def test_every_line_arrives_whole_in_order_and_is_counted_and_hashed(tmp_path: Path) -> None:
    path, written = tmp_path / "out.jsonl", lines(5000)
    with JsonlSink(str(path)) as sink:
        for line in written:
            sink.write(line)
        assert sink.lines == 5000
        assert sink.sha256 == hashlib.sha256(b"".join(written)).hexdigest().upper()
    assert path.read_bytes() == b"".join(written)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_run_on_the_same_file_is_turned_away_while_the_first_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "out.jsonl")
    with JsonlSink(path) as sink:
        with pytest.raises(OutputLocked):
            JsonlSink(path, append=True)
        sink.write(b"{}\n")
    with JsonlSink(path, append=True) as sink:
        sink.write(b"{}\n")
    assert Path(path).read_bytes() == b"{}\n{}\n"


def test_a_file_that_holds_something_is_left_alone_unless_appending(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"kept":1}\n')
    with pytest.raises(OutputExists):
        JsonlSink(str(path))
    assert path.read_bytes() == b'{"kept":1}\n'


def test_an_empty_file_may_be_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()
    with JsonlSink(str(path)) as sink:
        sink.write(b"{}\n")
    assert path.read_bytes() == b"{}\n"


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 30), st.binary(max_size=60).filter(lambda torn: b"\n" not in torn))
def test_appending_cuts_a_torn_tail_and_nothing_else(whole: int, torn: bytes) -> None:
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"fleetprobe-torn-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    path = folder / "out.jsonl"
    try:
        path.write_bytes(b"".join(lines(whole)) + torn)
        with JsonlSink(str(path), append=True) as sink:
            sink.write(b'{"next":1}\n')
        assert path.read_bytes() == b"".join(lines(whole)) + b'{"next":1}\n'
    finally:
        shutil.rmtree(folder)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    (tmp_path / "out.jsonl").symlink_to(victim)
    with pytest.raises(OutputError):
        JsonlSink(str(tmp_path / "out.jsonl"))
    assert victim.read_bytes() == b""


def test_a_symbolic_link_to_standard_output_is_a_link_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").symlink_to("/dev/stdout")
    with pytest.raises(OutputError, match="ELOOP"):
        JsonlSink(str(tmp_path / "out.jsonl"))


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_a_descriptor_that_we_were_given_is_written_to_and_left_open(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"before\n")
    given = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.set_inheritable(given, True)
    with JsonlSink(f"{folder}/{given}") as sink:
        sink.write(b"{}\n")
    os.write(given, b"after\n")
    os.close(given)
    assert path.read_bytes() == b"before\n{}\nafter\n"


def test_a_descriptor_of_our_own_or_of_nobody_is_not_taken_for_an_output() -> None:
    ours, theirs = os.pipe()
    with pytest.raises(OutputError, match="EBADF"):
        JsonlSink(f"/dev/fd/{theirs}")
    os.close(ours)
    os.close(theirs)
    with pytest.raises(OutputError, match="EBADF"):
        JsonlSink(f"/dev/fd/{theirs}")


@pytest.mark.parametrize(
    ("path", "named"),
    [("-", True), ("/dev/stdout", True), ("/dev/fd/1", True), ("/proc/self/fd/1", True), ("/dev/fd/01", False),
     ("/dev/stderr", False), ("/dev/fd/11", False), ("/dev/fd/", False), ("/dev/stdout/", False),
     ("./-", False), ("dev/stdout", False), ("/tmp/dev/stdout", False), ("/dev/stdout\n", False)],
)  # fmt: skip
def test_standard_output_is_known_by_all_its_names_and_no_other(path: str, named: bool) -> None:
    assert is_stdout(path) is named


@pytest.mark.parametrize("path", ["missing/out.jsonl", "."])
def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path, path: str) -> None:
    with pytest.raises(OutputError):
        JsonlSink(str(tmp_path / path))


def test_a_pipe_whose_reader_is_slow_congests_and_loses_nothing(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    line = b"y" * 65535 + b"\n"
    sink = JsonlSink(str(fifo))
    assert not sink.congested
    for _ in range(100):
        sink.write(line)
    congested = sink.congested
    got = 0
    while got < 100 * len(line):
        got += len(os.read(reader, 1 << 20))
    sink.close()
    assert (congested, sink.congested) == (True, False)
    os.close(reader)


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(tmp_path: Path) -> None:
    """As node and some shells leave the standard output that they share with us."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    os.set_blocking(writer, False)
    sink = JsonlSink(f"/dev/fd/{writer}")
    line = b"y" * 65535 + b"\n"
    for _ in range(8):
        sink.write(line)
    time.sleep(0.2)
    got = 0
    while got < 8 * len(line) and (data := os.read(reader, 1 << 20)):
        got += len(data)
    sink.close()
    assert got == 8 * len(line)
    os.close(reader)
    os.close(writer)


def test_a_pipe_whose_reader_left_is_an_output_error(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonlSink(str(fifo))
    os.close(reader)
    sink.write(b"{}\n")
    with pytest.raises(OutputError, match="EPIPE"):
        sink.close()


def test_after_a_failed_write_nothing_more_is_taken() -> None:
    full = "/dev/full"
    sink = JsonlSink(full)
    sink.write(b"{}\n")
    sink._thread.join(10)
    with pytest.raises(OutputError, match="ENOSPC"):
        sink.write(b"{}\n")
    with pytest.raises(OutputError, match="ENOSPC"):
        sink.close()


FULL_DISK = """
    import sys
    from fleetprobe.sinks.jsonl import JsonlSink, OutputError
    sink = JsonlSink(sys.argv[1] + "/out.jsonl")
    try:
        for n in range(4000):
            sink.write(b'{"n":%d,"pad":"%s"}' % (n, b"z" * 200) + b"\\n")
        sink.close()
    except OutputError as no:
        assert "ENOSPC" in str(no), no
        body = open(sys.argv[1] + "/out.jsonl", "rb").read()
        whole = body.count(b"\\n")
        print("refused after", whole, "whole lines")
        sys.exit(74)
"""


def test_a_full_disk_is_an_output_error_and_appending_later_finds_whole_lines(tmp_path: Path) -> None:
    script = tmp_path / "fill.py"
    script.write_text(textwrap.dedent(FULL_DISK))
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = (
        f'mount -t tmpfs -o size=256k none "{disk}" && "{sys.executable}" "{script}" "{disk}"; code=$?; '
        f'cat "{disk}/out.jsonl" > "{tmp_path}/copy.jsonl"; exit $code'
    )
    probe = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", f'mount -t tmpfs none "{disk}"'], capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip(f"a small file system of our own is refused here: {probe.stderr.decode().strip()}")
    ran = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", inside],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert ran.returncode == 74, ran.stderr
    copy = tmp_path / "copy.jsonl"
    assert copy.stat().st_size > 100_000
    assert copy.read_bytes().endswith(b"\n")
    with JsonlSink(str(copy), append=True) as sink:
        sink.write(b'{"n":-1}\n')
    assert [json.loads(line)["n"] for line in copy.read_bytes().splitlines()][-1] == -1


KILLED = """
    import sys
    from fleetprobe.sinks.jsonl import JsonlSink
    sink = JsonlSink(sys.argv[1], append=True)
    print("writing", flush=True)
    n = 0
    while True:
        sink.write(b'{"n":%d,"pad":"%s"}' % (n, b"k" * (n % 3000)) + b"\\n")
        n += 1
"""


def test_after_kill_9_at_any_moment_the_file_is_whole_again_when_appended_to(tmp_path: Path) -> None:
    script, path = tmp_path / "write.py", tmp_path / "out.jsonl"
    script.write_text(textwrap.dedent(KILLED))
    for trial in range(4):
        path.unlink(missing_ok=True)
        child = subprocess.Popen(
            [sys.executable, str(script), str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.02 + 0.03 * trial)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        child.stdout.close()
        with JsonlSink(str(path), append=True) as sink:
            sink.write(b'{"n":-1}\n')
        numbers = [json.loads(line)["n"] for line in path.read_bytes().splitlines()]
        assert numbers == [*range(len(numbers) - 1), -1]
