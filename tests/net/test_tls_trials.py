"""Changed hellos over real sockets: what `openssl s_server` and scripts make of other names and other offers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from fleetprobe.engine.budget import Gate, Guard
from fleetprobe.engine.one import Examiner
from fleetprobe.layers.ladders import ladder_of
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Verdict
from fleetprobe.net.handshake import Hello
from fleetprobe.net.live.net import LiveNet
from tests.engine.world import FREE
from tests.net.test_tls_hello import heard
from tests.net.test_tls_live import LEAF, MIDDLE, s_server, serving

NULL, CCM_8_TLS13 = 0x003B, 0x1305
"""TLS_RSA_WITH_NULL_SHA256 and TLS_AES_128_CCM_8_SHA256 among the IANA's TLS cipher suites."""
VERSIONS_FROM_13 = b"\x03\x04\x03\x03"


def examined(port: int, **more: str) -> tuple[Verdict, list[str]]:
    """The whole of one target, witnesses included."""

    async def main() -> tuple[Verdict, list[str]]:
        net = LiveNet()
        try:
            target = Target(service="tls", host="127.0.0.1", port=port, **more)  # type: ignore[arg-type]  # text only
            found = await Examiner(net, Policy(), Gate(FREE, Guard())).examine(target, ladder_of(target))
            (address,) = found.addresses
            purposes = [attempt.purpose for climb in address.climbs for attempt in climb.attempts]
            return address.verdict, [purpose for purpose in purposes if purpose != "mtu"]
        finally:
            await net.close()

    return uvloop.run(asyncio.wait_for(main(), 20))


def told(verdict: Verdict) -> tuple[str | None, str, str]:
    assert verdict.finding is not None
    return verdict.finding.code, str(verdict.finding.confidence), verdict.finding.summary


def suites(hello: bytes) -> set[int]:
    """The cipher suites in a ClientHello (RFC 8446 §4.1.2), which come after 43 bytes and the session's id."""
    start = 44 + hello[43]
    some = hello[start + 2 : start + 2 + int.from_bytes(hello[start : start + 2], "big")]
    return {int.from_bytes(some[at : at + 2], "big") for at in range(0, len(some), 2)}


def test_the_wider_offer_holds_every_suite_and_what_is_not_offered_is_not_there() -> None:
    plain, _ = heard(Hello(server_name="shop.test", small=True))
    wide, _ = heard(Hello(server_name="shop.test", small=True, any_cipher=True))
    old, _ = heard(Hello(server_name="shop.test", small=True, any_cipher=True, below_tls13=True))
    assert [NULL in suites(hello) for hello in (plain, wide, old)] == [False, True, True]
    assert [CCM_8_TLS13 in suites(hello) for hello in (plain, wide, old)] == [False, True, False]
    assert [VERSIONS_FROM_13 in hello for hello in (plain, wide, old)] == [True, True, False]
    # All of them go in one segment, whatever the path.
    assert max(map(len, (plain, wide, old))) < 1000


@pytest.mark.parametrize(("options", "confidence", "words"), [
    (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0"), "proven", "TLSv1.2 with ECDHE-ECDSA-AES128-CCM8"),
    (("-tls1_2", "-cipher", "AECDH-NULL-SHA:@SECLEVEL=0"), "proven", "TLSv1.2 with AECDH-NULL-SHA"),
    (("-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"), "observed", "TLSv1.3 with TLS_AES_128_CCM_SHA256"),
])
def test_the_suites_of_a_real_server_are_named(
    options: tuple[str, ...], confidence: str, words: str, tmp_path: Path
) -> None:
    with s_server(tmp_path, LEAF.pem(MIDDLE), *options, naccept=12) as port:
        verdict, purposes = examined(port, sni="shop.test")
    code, how, summary = told(verdict)
    assert (code, how) == ("tls.no_shared_cipher", confidence)
    assert f"takes {words}, which we do not offer" in summary
    assert len(purposes) <= 8


def test_a_name_that_a_real_server_does_not_know_is_its_own_word_and_no_name_is_proven_to_work(tmp_path: Path) -> None:
    pem = str(tmp_path / "s_server.pem")
    names = ("-servername", "known.test", "-servername_fatal", "-cert2", pem, "-key2", pem)
    with s_server(tmp_path, LEAF.pem(MIDDLE), *names, naccept=12) as port:
        verdict, purposes = examined(port, sni="wrong.test")
    code, how, summary = told(verdict)
    # It serves who names nobody.
    assert (code, how) == ("tls.unrecognized_name", "proven")
    assert "answers without a name and refuses (alert unrecognized_name) one for wrong.test" in summary
    assert purposes == ["climb", *["name"] * 5]


def taking(liked: Callable[[bytes], bool]) -> Callable[[socket.socket], None]:
    """A server that answers some hellos with the beginning of a ServerHello, and leaves at the others."""

    def script(peer: socket.socket) -> None:
        record = b""
        while len(record) < 5 or len(record) < 5 + int.from_bytes(record[3:5], "big"):
            record += peer.recv(65536)
        if liked(record):
            peer.sendall(b"\x16\x03\x03\x00\x7a\x02")

    return script


def test_a_filter_on_the_name_is_told_though_nobody_says_anything() -> None:
    with serving(taking(lambda hello: b"blocked.test" not in hello)) as port:
        verdict, purposes = examined(port, sni="blocked.test")
    assert told(verdict)[:2] == ("tls.unrecognized_name", "inferred")
    assert purposes == ["climb", "hello", *["name"] * 5]


def test_what_was_answered_and_never_agreed_on_names_no_suite() -> None:
    with serving(taking(lambda hello: VERSIONS_FROM_13 not in hello)) as port:
        verdict, purposes = examined(port)
    assert told(verdict)[:2] == ("tls.dropped", "observed")
    assert purposes == ["climb", "hello", *["offer"] * 5]


def test_a_server_that_leaves_at_every_hello_costs_four_connections_and_no_time() -> None:
    with serving(taking(lambda _: False)) as port:
        verdict, purposes = examined(port, sni="shop.test")
    assert told(verdict)[:2] == ("tls.dropped", "observed")
    assert purposes == ["climb", "hello", "name", "offer"]
