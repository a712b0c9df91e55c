"""YAML, and all inventories of a run as one stream."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetprobe.inventory import yaml as yaml_format
from fleetprobe.inventory.read import Format, InventoryError, entries
from fleetprobe.model.target import BadLine, Entry, Target


def read(data: bytes | str, form: Format | None = None, **options: Any) -> list[Entry]:
    stream = io.BytesIO(data.encode() if isinstance(data, str) else data)
    return list(entries(["-"], (), form=form, stdin=stream, **options))


def brief(found: list[Entry]) -> list[tuple[str | None, str]]:
    """(source, canonical form) of targets, (source, "!") of bad lines."""
    return [(entry.source, entry.canonical if isinstance(entry, Target) else "!") for entry in found]


def only_bad(found: list[Entry]) -> BadLine:
    [entry] = found
    assert isinstance(entry, BadLine), entry
    return entry


def labels(entry: Entry) -> dict[str, str]:
    assert isinstance(entry, Target), entry
    return dict(entry.labels)


# YAML


def test_yaml_entries_take_defaults_and_give_them_back() -> None:
    found = read(
        "defaults:\n  timeout: 2\n  labels: {env: no, tier: 01}\ntargets:\n- a.test:443\n"
        "- host: b.test\n  port: 22\n  timeout: null\n  labels:\n    tier: ~\n    x: 'null'\n",
        Format.YAML,
    )
    assert brief(found) == [("stdin:5", "https://a.test:443"), ("stdin:6", "ssh://b.test:22")]
    assert [entry.timeout_s for entry in found if isinstance(entry, Target)] == [2.0, None]
    assert [labels(entry) for entry in found] == [{"env": "no", "tier": "01"}, {"env": "no", "x": "null"}]


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_yaml_reads_the_same_with_and_without_the_c_parser(
    loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_format, "_LOADER", getattr(yaml, loader))
    found = read(
        "- a.test:443\n- {host: b.test, port: 0443}\n- !!python/name:os.system c.test:1\n"
        "- &x d.test:22\n- *x\n"
        "- {host: e.test, port: 22, timeout: ~, labels: }\n- f.test:22\n"
        "- {host: g.test, host: h.test, port: 1}\n"
        "- [i.test]\n- {? [k] : v}\n-\n- j.test:443\n",
        Format.YAML,
    )
    assert brief(found) == [
        ("stdin:1", "https://a.test:443"),
        ("stdin:2", "!"),
        ("stdin:3", "!"),
        ("stdin:4", "!"),
        ("stdin:5", "!"),
        ("stdin:6", "ssh://e.test:22"),
        ("stdin:7", "ssh://f.test:22"),
        ("stdin:8", "!"),
        ("stdin:9", "!"),
        ("stdin:10", "!"),
        ("stdin:11", "!"),
        ("stdin:12", "https://j.test:443"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        ("- a.test:443\n- b: [\n", 3, "not YAML"),
        ("- a.test:443\n- [2001:db8::1]:443\n", 2, "brackets needs quotes"),
        ("- a.test:443\n- " + "[" * 100_000, 2, "deeper than 12"),
        ("- a.test:443\n- " + "{a: " * 100_000, 2, "deeper than 12"),
        ("- a.test:443\n- " + "- " * 100_000, 2, "deeper than 12"),
        ("- a.test:443\n- [" + "a," * 5000 + "a]\n- b.test:443", 2, "more than 4096"),
        ("- a.test:443\n- \x01\n", 1, "not YAML"),
    ],
)
def test_what_breaks_a_yaml_file_is_one_bad_line_and_cheap(text: str, line: int, fragment: str) -> None:
    started = time.process_time()
    found = read(text, Format.YAML)
    elapsed = time.process_time() - started
    bad = only_bad(found[-1:])
    assert bad.source == f"stdin:{line}"
    assert fragment in bad.reason
    assert "nothing behind it was read" in bad.reason
    assert len(found) <= 3
    assert elapsed < 1


def test_a_yaml_bomb_costs_nothing() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    started = time.process_time()
    found = read(bomb, Format.YAML)
    assert time.process_time() - started < 0.5
    assert [entry.source for entry in found] == [f"stdin:{n}" for n in range(1, 10)]
    assert all(isinstance(entry, BadLine) for entry in found)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("targets: []\ndefaults: {timeout: 1}\n", "put them before"),
        ("defaults: 5\ntargets: [a.test:443]\n", "must be a mapping"),
        ("defaults: {host: a}\ntargets: [a.test:443]\n", "cannot hold host"),
        ("defaults: &x {timeout: 1}\ntargets: [a.test:443]\n", "anchors"),
        ("hosts: [a.test:443]\n", "section 'hosts'"),
        ("targets: a.test:443\n", "section 'targets'"),
        ("[a]: b\n", "a list or mapping"),
        ("a.test:443\n", "neither a list nor a mapping"),
        ("a.test", "neither a list nor a mapping"),
    ],
)
def test_an_odd_yaml_file_says_what_is_odd(text: str, fragment: str) -> None:
    assert fragment in only_bad(read(text, Format.YAML)).reason


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n", "[]\n", "targets: []\n"])
def test_an_empty_yaml_file_has_no_entries(text: str) -> None:
    assert read(text, Format.YAML) == []


def test_a_yaml_file_of_one_huge_line_costs_no_more_than_one_of_many_lines() -> None:
    specs = [f"h{n}.test:443" for n in range(30_000)]
    started = time.process_time()
    assert len(read("".join(f"- {spec}\n" for spec in specs), Format.YAML)) == len(specs)
    many_lines = time.process_time() - started
    started = time.process_time()
    assert len(read("# one\n[" + ",".join(specs) + "]", Format.YAML)) == len(specs)
    assert time.process_time() - started < 2 * many_lines


def test_a_yaml_file_beyond_the_size_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_format, "FILE_BYTES", 10)
    assert "larger than 10 bytes" in only_bad(read("- a.test:443", Format.YAML)).reason


# All together


def test_stdin_that_begins_with_a_brace_is_json_and_anything_else_lines() -> None:
    assert brief(read('\n  \n {"target": "a.test:443"}\n')) == [("stdin:3", "https://a.test:443")]
    assert brief(read("\n[2001:db8::1]:443\n")) == [("stdin:2", "https://[2001:db8::1]:443")]
    assert read("\n \n") == []


def test_arguments_come_first_and_take_fields(tmp_path: Path) -> None:
    path = tmp_path / "fleet.TXT"
    path.write_text("c.test:443 ca_file=x.pem\n")
    found = list(entries([str(path)], ["a.test:443 sni=b.test", "", "#", "b.test:22"]))
    assert brief(found) == [
        ("argv:1", "https://a.test:443"),
        ("argv:2", "!"),
        ("argv:3", "!"),
        ("argv:4", "ssh://b.test:22"),
        (f"{path}:1", "https://c.test:443"),
    ]
    assert isinstance(found[4], Target)
    assert found[4].ca_file == str(tmp_path / "x.pem")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.csv", "host,port\na.test,443\n"),
        ("f.TSV", "host\tport\na.test\t443\n"),
        ("f.yml", "- a.test:443\n"),
        ("f.yaml", "- a.test:443\n"),
        ("f.ndjson", '{"target":"a.test:443"}\n'),
        ("f.json", '{"target":"a.test:443"}\n'),
        ("f", "a.test:443\n"),
    ],
)
def test_the_extension_picks_the_reader(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert [mark for _, mark in brief(list(entries([str(tmp_path / name)])))] == ["https://a.test:443"]


@pytest.mark.parametrize("path", ["missing.txt", ".", "a\0b"])
def test_a_file_that_cannot_be_opened_is_a_usage_error_before_anything_is_read(path: str) -> None:
    with pytest.raises(InventoryError) as error:
        entries(["-", path], ["a.test:443"], stdin=io.BytesIO(b""))
    assert "\n" not in str(error.value)


def test_a_file_that_fails_while_it_is_read_is_an_inventory_error() -> None:
    class Broken(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(InventoryError, match="Input/output error"):
        list(entries(["-"], (), stdin=Broken()))


def test_stdin_can_be_named_once() -> None:
    with pytest.raises(InventoryError, match="only once"):
        entries(["-", "-"], ())


def test_the_limit_counts_everything_and_says_where_it_stopped() -> None:
    found = read(
        "a.test:443\n192.0.2.0/29:443\n192.0.2.1-3:22\nbad\nb.test:443\nc.test:443\nd.test:443\n",
        max_targets=6,
    )
    assert brief(found) == [
        ("stdin:1", "https://a.test:443"),
        ("stdin:2", "!"),
        ("stdin:3", "ssh://192.0.2.1:22"),
        ("stdin:3", "ssh://192.0.2.2:22"),
        ("stdin:3", "ssh://192.0.2.3:22"),
        ("stdin:4", "!"),
        ("stdin:5", "!"),
    ]
    last = only_bad(found[-1:])
    assert "limit of 6" in last.reason
    assert "names 6 targets" in only_bad(found[1:2]).reason


def test_reading_is_lazy() -> None:
    class Counting(io.BytesIO):
        lines = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            self.lines += 1
            return super().readline(size)

    stream = Counting(b"a.test:443\n" * 1000)
    found = entries(["-"], (), stdin=stream)
    next(found)
    next(found)
    assert stream.lines <= 3


def test_standard_input_is_the_default_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.test:443\n")))
    assert brief(list(entries(["-"], ()))) == [("stdin:1", "https://a.test:443")]
