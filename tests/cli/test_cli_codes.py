"""explain, codes, schema and the reference: complete, current, and quick to start."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import typer

from fleetprobe.cli.app import app
from fleetprobe.cli.code_view import code_view, codes_view
from fleetprobe.cli.flags import Color
from fleetprobe.cli.reference import markdown
from fleetprobe.cli.terminal import ASCII, UNICODE, console, show
from fleetprobe.codes.table import CODES, ROWS
from tests.cli.program import ROOT, run


def drawn(what: Any) -> str:
    file = io.StringIO()
    on = console(Color.NEVER, file, {})
    on.width = 80
    show(on, what)
    return file.getvalue()


@pytest.mark.parametrize("code", ROWS, ids=lambda code: code.name)
def test_every_code_is_explained_in_full(code: Any) -> None:
    text = " ".join(drawn(code_view(code, UNICODE, 80)).split())
    for told in (code.name, code.meaning, code.fix, code.evidence, *code.not_this, *code.could_also_be, *code.boxes):
        assert " ".join(told.split()) in text
    assert ("planned" in text.split(code.meaning, maxsplit=1)[0]) is not code.emitted
    assert drawn(code_view(code, ASCII, 80)).isascii()


def test_explain_prints_the_code() -> None:
    done = run("explain", "tcp.refused")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tcp.refused  fail")


@pytest.mark.parametrize(
    ("asked", "suggested"),
    [("tls", "tls.expired"), ("tcp.ref", "tcp.refused"), ("refused", "dns.refused"), ("tls.expird", "tls.expired"),
     ("TCP.REFUSED", "tcp.refused")],
)
def test_an_unknown_code_is_exit_2_with_those_that_look_alike(asked: str, suggested: str) -> None:
    done = run("explain", asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert suggested in done.stderr


def test_a_hostile_code_is_named_harmlessly() -> None:
    done = run("explain", "\x1b[2J" + "x" * 5000)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert len(done.stderr) < 300


def test_codes_lists_every_code_and_marks_the_planned_ones() -> None:
    rows = [json.loads(line) for line in run("codes").stdout.splitlines()]
    assert [row["code"] for row in rows] == list(CODES)
    assert [row["emitted"] for row in rows] == [code.emitted for code in ROWS]
    listed = drawn(codes_view(ROWS, UNICODE, 80)).splitlines()
    assert len(listed) == len(ROWS)
    assert [("(planned)" in line) for line in listed] == [not code.emitted for code in ROWS]


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(run("schema").stdout))


def test_inventory_shows_every_line_with_its_place_and_the_bad_ones(tmp_path: Any) -> None:
    path = tmp_path / "fleet.txt"
    path.write_text("web.example:443\n# comment\nhost:0\nhttp://[2001:db8::1]/x\n")
    done = run("inventory", str(path))
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 3
    assert [(row["kind"], row["source"]) for row in rows] == [
        ("target", f"{path}:1"), ("bad_line", f"{path}:3"), ("target", f"{path}:4"),
    ]
    assert rows[0]["target"] == "https://web.example:443"
    human = run("inventory", str(path), "--format", "human")
    assert human.stdout.splitlines()[-1] == "2 targets, 1 bad lines"
    path.write_text("web.example:443\n")
    assert run("inventory", str(path)).returncode == 0
    path.write_text("# nothing\n")
    assert run("inventory", str(path)).returncode == 2
    assert run("inventory", str(tmp_path / "gone")).returncode == 2


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    name = f"{path} {command.name}".strip()
    yield name, command
    for child in getattr(command, "commands", {}).values():
        yield from commands(child, name)


def test_the_committed_reference_is_current() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == markdown()


def test_every_command_and_flag_is_described_and_stands_in_the_reference() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    found = list(commands(typer.main.get_command(app)))
    assert len(found) > 12
    for name, command in found:
        assert f" {name}\n" in text
        assert command.help, name
        for one in command.params:
            assert one.help, f"{name} {one.name}"
            for flag in one.opts:
                if flag.startswith("-"):
                    assert f"`{flag}`" in text, f"{name} {flag}"


def test_help_names_every_flag_that_the_reference_names() -> None:
    for name, command in commands(typer.main.get_command(app)):
        done = run(*name.split()[1:], "--help")
        assert done.returncode == 0
        for one in command.params:
            for flag in one.opts:
                if flag.startswith("-"):
                    assert flag in done.stdout, f"{name} {flag}"


@pytest.mark.parametrize("args", [["--help"], ["scan", "--help"], ["explain", "tls.expired"], ["codes"], ["schema"]])
def test_what_sends_nothing_loads_no_network(args: list[str]) -> None:
    heavy = ["OpenSSL", "aiodns", "uvloop", "dns", "cryptography", "asyncio", "fleetprobe.scan", "fleetprobe.lab"]
    code = (
        "import sys\n"
        "from fleetprobe.cli.app import app\n"
        f"try: app({args!r})\n"
        "except SystemExit: pass\n"
        f"print('loaded', sorted(set({heavy!r}) & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "loaded []"


def test_the_version_is_told() -> None:
    from fleetprobe.model.version import VERSION

    assert run("--version").stdout == f"fleetprobe {VERSION}\n"
