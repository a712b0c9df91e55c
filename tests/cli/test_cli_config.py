"""Where a flag's value comes from: command line, then environment, then file, then default."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import closed_port, records, run


def vantage(cwd: Path, *args: str, env: dict[str, str] | None = None) -> str:
    """The vantage that a scan in `cwd` records."""
    with closed_port() as port:
        done = run("scan", f"127.0.0.1:{port}", *args, cwd=cwd, env=env)
    assert done.returncode == 1, done.stderr
    name: str = records(done.stdout)[0]["vantage"]
    return name


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    default = vantage(tmp_path)
    (tmp_path / "fleetprobe.toml").write_text('[scan]\nvantage = "file"\n')
    environment = {"FLEETPROBE_VANTAGE": "environment"}
    assert vantage(tmp_path) == "file" != default
    assert vantage(tmp_path, env=environment) == "environment"
    assert vantage(tmp_path, "--vantage", "flag", env=environment) == "flag"


def test_another_file_and_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "fleetprobe.toml").write_text('[scan]\nvantage = "here"\n')
    (tmp_path / "other.toml").write_text('[scan]\nvantage = "other"\n')
    assert vantage(tmp_path, "--config", "other.toml") == "other"
    assert vantage(tmp_path, env={"FLEETPROBE_CONFIG": "other.toml"}) == "other"
    assert vantage(tmp_path, "--no-config") not in {"here", "other"}
    assert vantage(tmp_path, "--config", "other.toml", "--no-config") not in {"here", "other"}


def test_numbers_switches_and_lists_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "fleetprobe.toml").write_text(
        '[scan]\nseed = 42\nrate = 0\ntimeout = 1\nper-host = "4,100/s"\nfamily = "4"\nwitnesses = "never"\n'
        'deny = ["127.0.0.2", "10.0.0.0/8"]\nquiet = true\noutput = "night.jsonl"\nformat = "jsonl"\n'
    )
    with closed_port() as port:
        done = run("scan", f"127.0.0.1:{port}", f"127.0.0.2:{port}", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    found = records((tmp_path / "night.jsonl").read_text())
    assert found[0]["seed"] == 42
    assert {record.get("code") for record in found} >= {"tcp.refused", "policy.denied"}


def test_several_values_in_a_variable_are_separated_by_blanks(tmp_path: Path) -> None:
    with closed_port() as port:
        done = run(
            "scan", f"127.0.0.1:{port}", f"127.0.0.2:{port}", "tcp://127.0.0.3:1", cwd=tmp_path,
            env={"FLEETPROBE_DENY": "127.0.0.2 127.0.0.3"},
        )
    assert [record.get("code") for record in records(done.stdout)].count("policy.denied") == 2


def test_check_takes_its_flags_from_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "fleetprobe.toml").write_text('[scan]\nvantage = "file"\noutput = "not-for-check.jsonl"\n')
    with closed_port() as port:
        done = run("check", f"127.0.0.1:{port}", cwd=tmp_path)
    assert records(done.stdout)[0]["vantage"] == "file"
    assert not (tmp_path / "not-for-check.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[scan]\nvantagee = "x"\n', "'vantagee'"),
        ("[scan]\nper_host = 4\n", "'per_host'"),
        ('[scan]\nconfig = "other.toml"\n', "'config'"),
        ("[scam]\n", "'scam'"),
        ("vantage = 1\n", "'vantage'"),
        ('[scan]\nquiet = "yes"\n', "'quiet'"),
        ("[scan]\ndeny = [1]\n", "'deny'"),
        ('[scan]\nrate = ["1"]\n', "'rate'"),
        ("[scan]\nrate = true\n", "'rate'"),
        ("[scan\n", "is not TOML"),
        ("[scan]\nconcurrency = 0\n", "concurrency"),
        ('[scan]\nfamily = "5"\n', "family"),
        ('x = "' + "a" * (1 << 20) + '"\n', "is larger than"),
    ],
)
def test_a_file_that_means_nothing_is_an_error_that_names_file_and_key(
    tmp_path: Path, text: str, named: str
) -> None:
    (tmp_path / "fleetprobe.toml").write_text(text)
    done = run("scan", "127.0.0.1:1", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    if "'" in named:
        assert "fleetprobe.toml" in done.stderr


def test_a_file_named_but_missing_is_an_error(tmp_path: Path) -> None:
    done = run("scan", "127.0.0.1:1", "--config", "gone.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "gone.toml" in done.stderr
