"""The pool between runs: any PEM file can be read, ours comes back as it was, and nothing breaks it."""

from __future__ import annotations

import base64
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from fleetprobe.net.pool import Pool
from fleetprobe.pool_file import FOUND_AT, UnusablePool, default_path, load, save
from tests.layers.chain_world import authority, der, leaf, sha256

ROOT = authority("Root")
LOWER = authority('Lower\n-----END CERTIFICATE----- "ü"', ROOT)


def pem(*ders: bytes) -> bytes:
    return b"".join(
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(one) + b"-----END CERTIFICATE-----\n" for one in ders
    )


def loaded(path: Path) -> Pool:
    pool = Pool()
    load(path, pool)
    return pool


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    path, pool = tmp_path / "new" / "pool.pem", Pool()
    for one in (ROOT, LOWER):
        pool.add("whatever", der(one), "198.51.100.1:443")
    save(path, pool)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["pool.pem"]
    again = loaded(path)
    assert {one.sha256 for one in again} == {sha256(ROOT), sha256(LOWER)}
    assert {one.found_at for one in again} == {FOUND_AT}
    assert [one.sha256 for one in again.named("cn=root")] == [sha256(ROOT)]


def test_two_runs_add_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "pool.pem"
    for one in (ROOT, LOWER):
        pool = Pool()
        pool.add("whatever", der(one), "198.51.100.1:443")
        save(path, pool)
    assert len(loaded(path)) == 2


def test_openssl_reads_it(tmp_path: Path) -> None:
    path, pool = tmp_path / "pool.pem", Pool()
    pool.add("x", der(ROOT), "a")
    save(path, pool)
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(path), "-noout", "-subject"], capture_output=True, text=True, check=True
    )
    assert "Root" in shown.stdout


def test_any_pem_file_will_do_and_leaves_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "pool.pem"
    path.write_bytes(b"a word\n" + pem(der(ROOT), b"junk", der(leaf(ROOT)), der(LOWER)))
    assert {one.sha256 for one in loaded(path)} == {sha256(ROOT), sha256(LOWER)}


def test_a_file_that_is_not_there_is_an_empty_pool(tmp_path: Path) -> None:
    assert load(tmp_path / "none.pem", Pool()) == 0


def test_what_is_no_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero"), tmp_path / ("x" * 300)):
        with pytest.raises(UnusablePool, match=r"the pool .* cannot be read|is not a regular file"):
            load(path, Pool())
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(UnusablePool, match="cannot be"):
        save(blocked / "pool.pem", Pool())


def test_bent_files_never_raise(tmp_path: Path) -> None:
    path, pool, random = tmp_path / "pool.pem", Pool(), Random(7)
    for one in (ROOT, LOWER):
        pool.add("whatever", der(one), "a")
    save(path, pool)
    whole = path.read_bytes()
    for _ in range(300):
        bent = bytearray(whole)
        for _ in range(random.randint(1, 8)):
            place = random.randrange(len(bent))
            bent[place : place + random.randint(0, 40)] = random.randbytes(random.randint(0, 20))
        path.write_bytes(bytes(bent))
        with suppress(UnusablePool):
            load(path, Pool())


def test_it_stands_in_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "fleetprobe" / "intermediates.pem"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".cache" / "fleetprobe" / "intermediates.pem"


@pytest.mark.parametrize("words", [b"host,port\na,443\n", b"\x00" * 1000, b"{}", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_file_that_is_no_pool_is_not_overwritten(tmp_path: Path, words: bytes) -> None:
    path, pool = tmp_path / "inventory.csv", Pool()
    path.write_bytes(words)
    pool.add("x", der(ROOT), "a")
    for act in (lambda: load(path, Pool()), lambda: save(path, pool)):
        with pytest.raises(UnusablePool, match="no certificate"):
            act()
    assert path.read_bytes() == words


def test_a_shared_file_keeps_its_mode_and_a_link_its_end(tmp_path: Path) -> None:
    path, link, pool = tmp_path / "pool.pem", tmp_path / "link.pem", Pool()
    path.write_bytes(b"")
    path.chmod(0o664)
    link.symlink_to(path)
    pool.add("x", der(ROOT), "a")
    save(link, pool)
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o664
    assert len(loaded(path)) == 1


def test_what_has_led_to_an_anchor_comes_first_the_next_night_too(tmp_path: Path) -> None:
    path, pool = tmp_path / "pool.pem", Pool()
    twins = [authority("Twin", ROOT) for _ in range(4)]
    for one in twins:
        pool.add("cn=twin", der(one), "a", vouched=one is twins[2])
    save(path, pool)
    assert loaded(path).named("cn=twin")[0].sha256 == sha256(twins[2])


def test_empty_lines_without_end_cost_no_more_than_their_length(tmp_path: Path) -> None:
    path = tmp_path / "pool.pem"
    path.write_bytes(pem(der(ROOT)) + b"-----BEGIN CERTIFICATE-----\n" + b"\n" * 400_000)
    began_s = time.process_time()
    assert len(loaded(path)) == 1
    assert time.process_time() - began_s < 2.0


def test_the_pool_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetprobe.net.pool.MOST_BYTES_IN_ALL", 1000)
    pool = Pool()
    for number in range(50):
        pool.add(f"n{number}", b"%04d" % number * 25, "a", vouched=number == 0)
    assert sum(len(one.der) for one in pool) <= 1000
    assert {one.der[:4] for one in pool} >= {b"0000", b"0049"}
