"""Whom one may ask on a stranger's word, and that each thing is asked once."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest

from fleetprobe.engine import errands as subject
from fleetprobe.engine.budget import Limit, Manners
from fleetprobe.engine.errands import Errands
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.interface import Address

BOTH = frozenset({4, 6})


def errands(*allow: str, deny: tuple[str, ...] = (), families: frozenset[int] = BOTH) -> Errands:
    allowed, refused = ([ipaddress.ip_network(text) for text in texts] for texts in (allow, deny))
    return Errands(FakeNet(), Manners(), allowed, refused, families)


def denied(one: Errands, text: str) -> bool:
    return one.denied(Address(text, 6 if ":" in text else 4)) is not None


PUBLIC = ("9.9.9.9", "2620:fe::9", "64:ff9b::909:909", "2002:909:909::1")
PRIVATE = (
    "10.0.0.1", "100.64.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.9", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.7", "203.0.113.7", "fd00::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1",
    "4000::1", "64:ff9b:1::909:909", "2001:20::1",
)
NEVER = (
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "169.254.169.254", "224.0.0.1", "239.1.1.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
)
EMBEDDED = (
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::1", "2002:c0a8:101::1", "2002:a9fe:a9fe::",
    "2620:fe::5efe:10.0.0.1", "2620:fe::200:5efe:127.0.0.1", "2001::1", "2001:0:7f00:1::", "2001:0:909:909::80ff:fffe",
)


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_may_be_asked(text: str) -> None:
    assert not denied(errands(), text)


@pytest.mark.parametrize("text", PRIVATE + NEVER + EMBEDDED)
def test_nothing_else_may(text: str) -> None:
    assert denied(errands(), text)
    assert denied(errands("0.0.0.0/0", "::/0"), text), "to allow everything names nothing in particular"


@pytest.mark.parametrize("text", PRIVATE)
def test_what_the_user_names_in_particular_may(text: str) -> None:
    network = str(ipaddress.ip_network(text))
    assert not denied(errands(network), text)
    assert denied(errands(network, deny=(network,)), text)


@pytest.mark.parametrize("text", NEVER)
def test_ourselves_and_our_own_link_never(text: str) -> None:
    assert denied(errands(text.partition("%")[0], "127.0.0.0/8", "169.254.0.0/16", "fe80::/10"), text)


@pytest.mark.parametrize("text", ["64:ff9b::a00:1", "2002:a00:1::1"])
def test_an_address_inside_another_needs_the_word_too(text: str) -> None:
    around = f"{text}/128"
    assert denied(errands(around), text)
    assert not denied(errands(around, "10.0.0.0/8"), text)
    assert denied(errands(around, "10.0.0.0/8", deny=("10.0.0.1/32",)), text)


def test_the_lists_of_the_run_hold_for_public_addresses_as_well() -> None:
    assert denied(errands("192.0.2.0/24"), "9.9.9.9")
    assert denied(errands(deny=("9.9.9.0/24",)), "9.9.9.9")
    assert denied(errands(deny=("9.9.9.0/24",)), "64:ff9b::909:909")
    assert denied(errands(families=frozenset({4})), "2620:fe::9")


def test_each_thing_is_asked_once_whoever_gives_up() -> None:
    asked = 0

    async def session() -> list[int | None]:
        one, gate = errands(), asyncio.Event()

        async def ask() -> int:
            nonlocal asked
            asked += 1
            await gate.wait()
            return asked

        impatient = asyncio.ensure_future(one.once("x", ask, 1e9))
        late = await one.once("x", ask, 0.0)
        others = [asyncio.ensure_future(one.once("x", ask, 1e9)) for _ in range(5)]
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        gate.set()
        told = [late, *await asyncio.gather(*others), await one.once("x", ask, 0.0)]
        await one.finish()
        await one.close()
        return told

    assert asyncio.run(session()) == [None, 1, 1, 1, 1, 1, 1]
    assert asked == 1


def test_a_run_asks_for_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MOST", 2)

    async def session() -> list[str | None]:
        one = errands()

        async def ask() -> str:
            return "told"

        told = [await one.once(what, ask, 1e9) for what in ("a", "b", "c", "a")]
        await one.close()
        return told

    assert asyncio.run(session()) == ["told", "told", None, "told"]


def test_what_is_never_answered_is_broken_off_at_the_end() -> None:
    async def session() -> bool:
        one, begun = errands(), asyncio.Event()

        async def ask() -> None:
            begun.set()
            await asyncio.Event().wait()

        await asyncio.wait_for(asyncio.gather(one.once("x", ask, 0.0), begun.wait()), 5)
        await one.close()
        return all(task.cancelled() for task in one._tasks.values())

    assert asyncio.run(session())


def test_the_manners_of_the_run_hold() -> None:
    inside = most = 0

    async def session() -> None:
        one = Errands(FakeNet(), Manners(per_host=Limit(at_once=2)), (), (), BOTH)

        async def ask() -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

        await asyncio.gather(*(one.admitted(Address("9.9.9.9", 4), ask) for _ in range(6)))

    asyncio.run(session())
    assert (inside, most) == (0, 2)
