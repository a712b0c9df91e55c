"""Files of chains: whole or not there, named by fingerprints, with comments that are nothing but comments."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fleetprobe.sinks.fix_dir import FixDir, NotWritten, UnusableFixDir
from tests.cli.screen import HOSTILE
from tests.layers.chain_world import authority, der, leaf, sha256

ROOT = authority("Root")
LOWER = authority("Lower", ROOT)
LEAF = leaf(LOWER)
CHAIN = [der(LEAF), der(LOWER)]


def held(path: str) -> list[bytes]:
    return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(Path(path).read_bytes())]


@pytest.mark.parametrize("name", [*HOSTILE, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "../../x"])
def test_comments_are_ascii_lines_whatever_the_name(tmp_path: Path, name: str) -> None:
    path = FixDir(str(tmp_path)).put(CHAIN, [name, f"1. {name}"])
    assert path == str(tmp_path / f"{sha256(LEAF)}.pem")
    assert held(path) == CHAIN
    comments = Path(path).read_bytes().partition(b"\n-----BEGIN")[0].splitlines()
    assert len(comments) == 2
    for line in comments:
        assert line.startswith(b"# ") and line.isascii() and line.decode().isprintable()
        assert b"-----" not in line and len(line) < 4000
    assert FixDir(str(tmp_path)).put(CHAIN, ["another comment"]) == path, "it is recognised as what it is"


def test_a_directory_is_made_with_its_parents_and_a_file_for_all_to_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        path = FixDir(str(tmp_path / "a" / "b")).put(CHAIN, [])
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644


def test_two_chains_of_one_leaf_have_two_files(tmp_path: Path) -> None:
    fixes = FixDir(str(tmp_path))
    first, second = fixes.put(CHAIN, []), fixes.put([*CHAIN, der(ROOT)], [])
    assert (held(first), held(second)) == (CHAIN, [*CHAIN, der(ROOT)])
    assert (fixes.put(CHAIN, []), fixes.put([*CHAIN, der(ROOT)], [])) == (first, second)


def test_a_file_system_without_links_gets_whole_files_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    fixes = FixDir(str(tmp_path))
    path = fixes.put(CHAIN, [])
    assert held(path) == CHAIN
    Path(path).write_text("mine")
    assert held(fixes.put(CHAIN, [])) == CHAIN
    assert Path(path).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_written_whole_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fixes = FixDir(str(tmp_path))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotWritten, match="No space left"):
        fixes.put(CHAIN, [])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnusableFixDir, match="No space left"):
        FixDir(str(tmp_path))


def test_a_path_that_is_none_is_said_to_be_none() -> None:
    with pytest.raises(UnusableFixDir, match="not a path"):
        FixDir("a\0b")
