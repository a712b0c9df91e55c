"""A certificate for another name: whether it is the one that everybody is shown whose site the server does not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from fleetprobe.lab.chains import chain, make_world
from fleetprobe.lab.issue import Use
from fleetprobe.lab.scenario import Certificate as Kind
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Event, Fault
from tests.engine.world import GOOD, V4, V6, examine, row, target

WORLD = make_world(datetime.now(UTC))


def shown(name: str) -> Handshake:
    """A handshake with a certificate of this name; each call makes a new one."""
    ders = tuple(
        one.public_bytes(Encoding.DER) for one in chain(Kind.GOOD, Use(names=(name,)), WORLD).certificates
    )
    root = WORLD.trusted.root.certificate.public_bytes(Encoding.DER)
    return Handshake(
        started_s=0.0, ended_s=0.01, protocol_version="TLSv1.3", cipher="TLS_AES_128_GCM_SHA256", chain_der=ders,
        path_der=(*ders, root), hello_bytes=1500, bytes_received=2000,
    )


RIGHT, WRONG, OTHER = shown("shop.test"), shown("default.test"), shown("other.test")
CLOSED = Handshake(started_s=0.0, ended_s=0.001, fault=Fault(Event.CLOSED))
Hear = Callable[[Hello], Handshake]


def asked(hear: Hear, address: str = V4, host: str = "shop.test", **more: Any) -> tuple[dict[str, Any], list[str]]:
    net = FakeNet().name("shop.test", address).host(address, 443, *GOOD, tls=hear)
    told = row(examine(net, target("https", port=443, host=host, **more)))
    assert net.left_open == 0
    return told, [attempt["purpose"] for attempt in told["attempts"]]


@pytest.mark.parametrize("address", [V4, V6])
def test_the_certificate_that_is_shown_without_a_name_as_well_is_the_default_one(address: str) -> None:
    told, purposes = asked(lambda _: WRONG, address)
    assert (told["code"], told["confidence"]) == ("tls.name_mismatch", "proven")
    assert "shows for shop.test the same certificate as to a hello without a name: default.test" in told["summary"]
    assert purposes == ["climb", "default", "default"]
    (facts,) = (step["facts"] for step in told["layers"] if "shown" in step["facts"])
    assert facts["reason"] == "default_certificate"
    assert facts["near"] == ["default.test"]
    assert [one["hello"] for one in facts["shown"]] == ["short", "without a name"]


@pytest.mark.parametrize("nameless", [OTHER, CLOSED, RIGHT], ids=["another", "none", "the right one"])
def test_a_certificate_that_only_this_name_gets_is_no_default(nameless: Handshake) -> None:
    told, purposes = asked(lambda hello: WRONG if hello.server_name else nameless)
    assert (told["code"], told["confidence"]) == ("tls.name_mismatch", "observed")
    assert purposes == ["climb", "default", "default"]


def test_a_certificate_that_changes_is_not_asked_about_further() -> None:
    told, purposes = asked(lambda hello: OTHER if hello.small else WRONG)
    assert (told["code"], told["confidence"]) == ("tls.name_mismatch", "observed")
    assert purposes == ["climb", "default"]


def test_who_sees_no_name_in_a_long_hello_is_told_by_a_short_one() -> None:
    def hear(hello: Hello) -> Handshake:
        short = hello.small and hello.pad_to_bytes is None
        return replace(RIGHT if short else WRONG, hello_bytes=360 if short else hello.pad_to_bytes or 1500)

    told, purposes = asked(hear)
    assert (told["code"], told["confidence"]) == ("tls.large_hello_intolerant", "inferred")
    assert told["could_also_be"] == ["tls.name_mismatch"]
    assert "to a ClientHello of 360 bytes and another to one of 1500" in told["summary"]
    assert purposes == ["climb", "default", "default"]
    assert "tls.name_mismatch" not in {finding["code"] for finding in told["findings"]}


def test_a_certificate_that_merely_came_late_is_not_blamed_on_the_length() -> None:
    told, purposes = asked(lambda hello: RIGHT if hello.small else WRONG)
    assert (told["code"], told["confidence"]) == ("tls.name_mismatch", "observed")
    assert purposes == ["climb", "default", "default"]


def test_where_no_name_is_sent_nothing_is_asked() -> None:
    told, purposes = asked(lambda _: WRONG, host=V4)
    assert (told["code"], told["confidence"], purposes) == ("tls.name_mismatch", "observed", ["climb"])


def test_a_fitting_certificate_is_not_asked_about() -> None:
    told, purposes = asked(lambda _: RIGHT)
    assert told["code"] != "tls.name_mismatch"
    assert "default" not in purposes


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("*.a.shop.test", "wildcard_does_not_cover_apex"), ("*.test", "wildcard_too_wide"),
        ("www.a.shop.test", "www"), ("a.shop.test.", "trailing_dot"), ("x*.shop.test", "partial_wildcard"),
    ],
)
def test_a_name_that_nearly_fits_keeps_its_reason_where_a_server_has_one_certificate(name: str, reason: str) -> None:
    net = FakeNet().name("a.shop.test", V4).host(V4, 443, *GOOD, tls=lambda _: shown(name))
    told = row(examine(net, target("https", port=443, host="a.shop.test")))
    assert (told["code"], told["confidence"]) == ("tls.name_mismatch", "observed")
    assert {attempt["purpose"] for attempt in told["attempts"]} == {"climb"}
    (facts,) = (step["facts"] for step in told["layers"] if "reason" in step["facts"])
    assert facts["reason"] == reason
