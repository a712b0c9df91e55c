"""What verifying a chain costs: honest chains pass whatever they weigh, dear ones are broken off before they cost."""

from __future__ import annotations

import asyncio
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.dear_chains import CHAINS, GIVEN_UP, Dear, _InMemory, genuine
from fleetprobe.lab.chains import chain, make_world
from fleetprobe.lab.issue import Use
from fleetprobe.lab.scenario import Certificate as Kind
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.live.dear import Price
from fleetprobe.net.live.tls import Handshaker
from tests.net.test_tls_live import NOW

DEAR = [name for name in CHAINS if name in GIVEN_UP]
CHEAP = [name for name in CHAINS if name not in GIVEN_UP]


async def no_turn() -> None:
    return None


def shake(dear: Dear) -> Handshake:
    tls = Handshaker(no_turn, time.monotonic, lambda: 0.0)
    seen, _ = asyncio.run(tls.handshake(_InMemory(dear), Hello(server_name="x.test"), time.monotonic() + 30))
    return seen


@pytest.mark.parametrize("name", DEAR)
def test_a_dear_chain_is_given_up_and_known_all_the_same(name: str) -> None:
    dear = CHAINS[name]()
    seen = shake(dear)
    assert seen.too_dear
    assert seen.fault is not None
    assert seen.chain_der == dear.ders
    assert all(code != 47 for code, _ in seen.verify_errors)


@pytest.mark.parametrize("name", CHEAP)
def test_a_large_chain_that_is_cheap_is_judged(name: str) -> None:
    seen = shake(CHAINS[name]())
    assert (seen.too_dear, seen.fault) == (False, None)
    assert all(code != 22 for code, _ in seen.verify_errors)


def test_a_path_of_more_than_a_hundred_cas_is_followed_no_further() -> None:
    assert 22 in {code for code, _ in shake(genuine(102)).verify_errors}


def test_what_has_the_size_of_a_dsa_key_without_being_one_is_not_reckoned_as_one() -> None:
    """ML-DSA-87 has keys of 2,592 bytes and is checked in 0.26 ms."""
    price = Price()
    for der in reversed(CHAINS["3 CAs of ML-DSA-87"]().ders):
        assert not price.too_dear(der)
    assert price.keys <= 10_000_000


@pytest.mark.parametrize("kind", [Kind.GOOD, Kind.MANY_NAMES, Kind.CONSTRAINED, Kind.DEEP])
def test_honest_chains_are_far_from_the_bounds(kind: Kind) -> None:
    world = make_world(NOW)
    made = chain(kind, Use(names=("x.lab.test",)), world)
    price = Price()
    for one in (world.trusted.root.certificate, *reversed(made.certificates)):
        assert not price.too_dear(one.public_bytes(Encoding.DER))
    assert price.keys < 30_000_000
    assert price.names < 1_000_000


@pytest.mark.parametrize("der", [b"", b"0", b"0\x80", b"0\x84\xff\xff\xff\xff", b"0\x03\x02\x01\x05", b"\x1f\x81\x01"])
def test_what_cannot_be_reckoned_is_dear(der: bytes) -> None:
    assert Price().too_dear(der)
