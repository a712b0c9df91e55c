"""Files that lend certificates to the pool: what they bring, what is wrong with them, and that none of it is kept."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from fleetprobe import issuer_files
from fleetprobe.issuer_files import UnusableList, bundled, load_list
from fleetprobe.model.target import BadLine, Target
from fleetprobe.model.trust import MACHINE
from fleetprobe.net.pool import Pool
from fleetprobe.pool_file import FOUND_AT, load
from fleetprobe.pool_sources import PoolSources
from tests.layers.chain_world import Fleet, authority, der, leaf, sha256
from tests.layers.test_pool_file import pem

ROOT = authority("Root")
LOWER = authority("Lower", ROOT)
LEAF = leaf(LOWER)
PRIVATE = authority("Private Root")
PRIVATE_LEAF = leaf(PRIVATE)


def test_a_list_closes_a_gap_and_says_what_was_taken(tmp_path: Path) -> None:
    path, fleet = tmp_path / "list.pem", Fleet([ROOT])
    path.write_bytes(b"a title\n" + pem(der(LOWER), der(PRIVATE), der(LEAF), der(LOWER)))
    told = load_list(str(path), fleet.net.pool)
    assert (told["source"], told["count"], told["skipped"]) == (str(path), 2, 2)
    assert len(str(told["sha256"])) == 64
    repair = fleet.repair(LEAF)
    assert repair is not None
    assert [one.found_at for one in repair.added] == [f"the list {path}"]
    assert repair.anchor is not None


def test_what_a_list_takes_does_not_depend_on_its_order(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pem", tmp_path / "other.pem"
    one.write_bytes(pem(der(LOWER), der(PRIVATE)))
    other.write_bytes(pem(der(PRIVATE), der(LOWER)))
    assert load_list(str(one), Pool())["sha256"] == load_list(str(other), Pool())["sha256"]


GOOD = pem(der(LOWER))
LINES = GOOD.count(b"\n")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GOOD + GOOD.replace(b"M", b"*"), LINES + 1),
        (GOOD + GOOD[:200], LINES + 1),
        (GOOD[:200] + b"\n" + GOOD, 1),
        (GOOD + b"-----END CERTIFICATE-----\n", LINES + 1),
        (b"\n" + pem(b"no certificate"), 2),
        (pem(der(LOWER)[:-1]), 1),
    ],
)
def test_a_broken_block_is_named_by_its_line(tmp_path: Path, text: bytes, line: int) -> None:
    path = tmp_path / "list.pem"
    path.write_bytes(text)
    with pytest.raises(UnusableList, match=rf"the list .*list\.pem is broken: line {line} begins no certificate"):
        load_list(str(path), Pool())


@pytest.mark.parametrize("text", [b"", b"nothing\n", pem(der(LEAF)), b'"-----BEGIN CERTIFICATE-----\nMII\n'])
def test_a_list_without_a_ca_certificate_is_none(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "list.pem"
    path.write_bytes(text)
    with pytest.raises(UnusableList, match="holds no CA certificate in PEM"):
        load_list(str(path), Pool())


def test_a_list_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.pem"
    path.write_bytes(pem(der(LOWER), der(ROOT), der(PRIVATE)))
    monkeypatch.setattr(issuer_files, "MOST_LISTED", 2)
    with pytest.raises(UnusableList, match="holds more than 2 certificates"):
        load_list(str(path), Pool())


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent", Path("nul\0")):
        with pytest.raises(UnusableList, match=r"cannot be read|is not a regular file"):
            load_list(str(path), Pool())


def test_a_private_root_that_only_a_ca_file_holds_ends_the_chain(tmp_path: Path) -> None:
    path, fleet = tmp_path / "private.pem", Fleet([ROOT])
    path.write_bytes(b"-----END CERTIFICATE-----\n" + pem(der(PRIVATE), b"junk", der(LOWER)))
    for authority_ in bundled(str(path)):
        authority_.lend(fleet.net.pool)
    repair = fleet.repair(PRIVATE_LEAF)
    assert repair is not None
    assert (repair.root and repair.root.sha256, repair.root_found_at) == (sha256(PRIVATE), f"the CA file {path}")
    closed = fleet.repair(LEAF)
    assert closed is not None
    assert [one.found_at for one in closed.added] == [f"the CA file {path}"]
    assert list(bundled(str(tmp_path / "absent"))) == []


def test_only_what_hosts_present_is_kept(tmp_path: Path) -> None:
    kept, listed, bundle = tmp_path / "pool.pem", tmp_path / "list.pem", tmp_path / "ca.pem"
    listed.write_bytes(pem(der(LOWER)))
    bundle.write_bytes(pem(der(PRIVATE)))

    async def session(presented: bytes | None) -> Pool:
        pool = Pool()
        sources = PoolSources(pool, str(kept), required=True)
        facts = sources.open(str(listed), [MACHINE, str(bundle)])
        assert facts["pool"] == {"source": str(kept), "count": 0}
        if presented:
            assert not pool.holds(sha256(LOWER), vouched=False)
            pool.add("cn=lower", presented, "198.51.100.1:443")
            assert pool.holds(sha256(LOWER), vouched=False)
        sources.save()
        return pool

    assert len(asyncio.run(session(None))) == 2
    assert not kept.exists()
    assert {one.found_at for one in asyncio.run(session(der(LOWER)))} == {
        "198.51.100.1:443", f"the CA file {bundle}"
    }
    again = Pool()
    load(kept, again)
    assert [(one.sha256, one.found_at) for one in again] == [(sha256(LOWER), FOUND_AT)]


def test_a_ca_file_of_the_inventory_reaches_the_pool_on_the_loop(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(pem(der(PRIVATE)))

    async def session() -> tuple[int, int]:
        pool = Pool()
        sources = PoolSources(pool, None, required=False)
        target = Target(service="tls", host="x.lab.test", port=443, ca_file=str(bundle))
        bad = BadLine(source="list:1", raw="x", reason="y")
        assert await asyncio.to_thread(lambda: list(sources.lending([target, bad]))) == [target, bad]
        bundle.unlink()
        assert await asyncio.to_thread(lambda: list(sources.lending([target]))) == [target]
        await asyncio.sleep(0)
        return len(pool), pool.learnt

    assert asyncio.run(session()) == (1, False)
