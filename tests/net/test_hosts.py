"""The hosts file is read as libc reads it, and no content of it can hurt."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetprobe.net.interface import Address
from fleetprobe.net.live import hosts
from fleetprobe.net.live.hosts import Hosts, read_hosts

BOTH = frozenset({4, 6})


def read(tmp_path: Path, content: bytes) -> tuple[Hosts, str]:
    path = tmp_path / "hosts"
    path.write_bytes(content)
    return read_hosts(str(path)), str(path)


def texts(read_file: Hosts, name: str, families: frozenset[int] = BOTH) -> list[str]:
    entry = read_file.lookup(name, families)
    return [address.text for address in entry.addresses] if entry else []


def test_a_name_is_found_whatever_its_case_and_trailing_dot(tmp_path: Path) -> None:
    found, path = read(tmp_path, b"# first\n192.0.2.7\tShop.Test shop # the shop\n")
    for name in ("shop.test", "SHOP.test.", "shop"):
        entry = found.lookup(name, BOTH)
        assert entry is not None
        assert entry.addresses == (Address("192.0.2.7", 4),)
        assert entry.line == f"{path}:2"
    assert found.lookup("the", BOTH) is None


def test_several_lines_for_one_name_add_up_and_the_first_one_is_named(tmp_path: Path) -> None:
    found, path = read(tmp_path, b"192.0.2.1 a.test\n2001:db8::1 a.test b.test\n192.0.2.1 a.test\n")
    assert texts(found, "a.test") == ["192.0.2.1", "2001:db8::1"]
    assert texts(found, "b.test") == ["2001:db8::1"]
    entry = found.lookup("a.test", BOTH)
    assert entry is not None
    assert entry.line == f"{path}:1"


def test_only_the_families_asked_for_count(tmp_path: Path) -> None:
    found, _ = read(tmp_path, b"192.0.2.1 a.test\n2001:db8::1 a.test\n192.0.2.2 four.test\n")
    assert texts(found, "a.test", frozenset({6})) == ["2001:db8::1"]
    assert found.lookup("four.test", frozenset({6})) is None


@pytest.mark.parametrize(
    "line",
    [
        b"127.1 x.test",
        b"0x7f.1 x.test",
        b"192.0.2.1",
        b"",
        b"#192.0.2.1 x.test",
        b"nonsense x.test",
        b"\xff\xfe x.test",
    ],
)
def test_a_line_that_libc_would_not_take_is_skipped(tmp_path: Path, line: bytes) -> None:
    found, _ = read(tmp_path, line + b"\n192.0.2.9 good.test\n")
    assert found.lookup("x.test", BOTH) is None
    assert texts(found, "good.test") == ["192.0.2.9"]


def test_hostile_bytes_in_names_do_no_harm(tmp_path: Path) -> None:
    found, _ = read(tmp_path, b"192.0.2.1 \x00\x1b[2J caf\xc3\xa9 good.test\r\n" + b"\x00" * 5000 + b"\n")
    assert texts(found, "good.test") == ["192.0.2.1"]


def test_a_name_keeps_at_most_64_addresses(tmp_path: Path) -> None:
    lines = b"".join(b"198.18.%d.%d many.test\n" % (n // 250, n % 250) for n in range(4000))
    found, _ = read(tmp_path, lines)
    assert len(texts(found, "many.test")) == 64


def test_what_stands_beyond_the_size_limit_is_not_read_and_no_line_is_read_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "SIZE_LIMIT_BYTES", 40)
    found, _ = read(tmp_path, b"192.0.2.1 first.test\n192.0.2.2 second.test\n192.0.2.3 third.test\n")
    assert texts(found, "first.test") == ["192.0.2.1"]
    assert set(found.entries) == {"first.test"}


def test_a_file_that_is_absent_counts_as_empty(tmp_path: Path) -> None:
    assert read_hosts(str(tmp_path / "none")).entries == {}
    assert read_hosts(str(tmp_path)).entries == {}
