"""Issuers fetched from where certificates say: what is sent, what is taken, and how little of it is believed."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Sequence
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from fleetprobe.engine.budget import Manners
from fleetprobe.engine.errands import Errands
from fleetprobe.lab.issue import Issued
from fleetprobe.layer import Ground
from fleetprobe.layers.tls.aia import MOST_HOPS, WHEN, AiaFacts, in_doubt, judge, probe
from fleetprobe.layers.tls.aia_fetch import MOST_BYTES, certificates_in
from fleetprobe.layers.tls.certificate import read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Finding
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.script import REFUSED, Close, Hear, Mute, Reset, Say, Step
from tests.layers.chain_world import NOW, Fleet, authority, der, leaf, sha256

CA, URL = "203.0.113.80", "http://ca.lab.test/lower.cer"
ROOT = authority("Root")
LOWER = authority("Lower", ROOT)
LEAF = leaf(LOWER, issuer_urls=[URL])
FAKE = authority("Lower", ROOT)
POLICY = Policy(as_of=NOW)


def http(body: bytes, status: bytes = b"200 OK", *fields: bytes) -> bytes:
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def answers(body: bytes) -> tuple[Step, ...]:
    return Hear(b"\r\n\r\n"), Say(http(body)), Close()


def bundle(*certificates: Issued, encoding: Encoding = Encoding.DER) -> bytes:
    return pkcs7.serialize_certificates([one.certificate for one in certificates], encoding)


class World:
    """One vantage: a fleet that trusts ROOT, a CA's web server, and what may be asked of it."""

    def __init__(self, *script: Step, allow: Sequence[str] = ("203.0.113.0/24",), trusted: Issued = ROOT) -> None:
        self.fleet = Fleet([trusted])
        self.net: FakeNet = self.fleet.net.name("ca.lab.test", CA)
        if script:
            self.net.host(CA, 80, *script)
        networks = [ipaddress.ip_network(text) for text in allow]
        self.errands = Errands(self.net, Manners(), networks, (), frozenset({4, 6}))

    def ground(self, seen: TlsFacts) -> Ground:
        target = Target(service="tls", host="x.lab.test", port=443)
        return Ground(
            target=target, policy=POLICY, deadline=self.net.now() + 30.0, facts={"tls": seen}, errands=self.errands
        )

    async def ask(self, ground: Ground) -> AiaFacts | None:
        return await probe(ground, self.net)

    def told(self, *presented: Issued, path: Sequence[Issued] | None = None) -> tuple[AiaFacts, Ground]:
        ground = self.ground(facts(*presented, path=path))
        found = asyncio.run(self.ask(ground))
        assert found is not None
        return found, ground

    @property
    def sent(self) -> list[bytes]:
        return [bytes(stream.sent) for stream in self.net.streams]


def facts(*presented: Issued, path: Sequence[Issued] | None = None, errors: Sequence[tuple[int, int]] = ()) -> TlsFacts:
    chain = tuple(der(one) for one in presented)
    taken = chain if path is None else tuple(der(one) for one in path)
    handshake = Handshake(
        started_s=0.0, ended_s=0.1, chain_der=chain, path_der=taken,
        verify_errors=tuple(errors) or ((20, len(taken) - 1),),
    )
    return TlsFacts(
        address="198.51.100.9:443", server_name="x.lab.test", handshake=handshake, rtt_ms=1.0,
        certificates=tuple(map(read, chain)), path=tuple(map(read, taken)),
    )


def outcomes(found: AiaFacts) -> list[str]:
    return [one["outcome"] for one in found.record()["aia"]]


def findings(found: AiaFacts) -> Sequence[Finding]:
    return judge(found, POLICY)


def test_the_issuer_is_fetched_and_proves_the_gap() -> None:
    world = World(*answers(der(LOWER)))
    found, ground = world.told(LEAF)
    (finding,) = findings(found)
    assert (finding.code, str(finding.confidence)) == ("tls.missing_intermediate", "proven")
    assert finding.supersedes == WHEN
    assert finding.summary == f"198.51.100.9:443 does not send CN=Lower; it comes from {URL} (AIA)"
    (row,) = finding.facts["aia"]
    assert (row["url"], row["outcome"], row["bytes"]) == (URL, "issuer", len(der(LOWER)))
    assert row["duration_ms"] > 0
    assert [(one.purpose, one.address, one.port) for one in ground.attempts] == [("aia", CA, 80)]
    assert found.certificates_der == (der(LOWER),)
    assert [(one.sha256, one.presented) for one in world.net.pool] == [(sha256(LOWER), False)]
    assert world.net.left_open == 0


def test_the_request_says_no_more_than_it_must() -> None:
    world = World(*answers(der(LOWER)))
    world.told(LEAF)
    (sent,) = world.sent
    lines = sent.decode("ascii").split("\r\n")
    assert lines[0] == "GET /lower.cer HTTP/1.1"
    assert [line.partition(":")[0].lower() for line in lines[1:-2]] == ["host", "user-agent", "accept", "connection"]
    assert lines[1] == "Host: ca.lab.test"


@pytest.mark.parametrize(
    "body",
    [
        der(LOWER), LOWER.certificate.public_bytes(Encoding.PEM), bundle(LOWER), bundle(ROOT, FAKE, LOWER),
        bundle(LOWER, encoding=Encoding.PEM), FAKE.certificate.public_bytes(Encoding.PEM)
        + LOWER.certificate.public_bytes(Encoding.PEM),
    ],
    ids=["der", "pem", "pkcs7", "pkcs7 of several", "pkcs7 in pem", "pem of several"],
)
def test_every_form_of_an_answer_is_read(body: bytes) -> None:
    found, _ = World(*answers(body)).told(LEAF)
    assert outcomes(found) == ["issuer"]
    assert [one.code for one in findings(found)] == ["tls.missing_intermediate"]


OTHERS = {
    "a namesake with another key": (answers(der(FAKE)), "other certificate"),
    "a leaf": (answers(der(leaf(ROOT))), "other certificate"),
    "garbage": (answers(b"\x30\x82" + bytes(200)), "no certificate"),
    "nothing": (answers(b""), "no certificate"),
    "base64 of it": (answers(base64.b64encode(der(LOWER))), "no certificate"),
    "a redirect": ((Hear(), Say(http(b"", b"302 Found", b"Location: http://ca.lab.test/other"))), "redirect"),
    "a redirect with it": ((Hear(), Say(http(der(LOWER), b"301 Moved", b"Location: /o"))), "redirect"),
    "not found, with it": ((Hear(), Say(http(der(LOWER), b"404 Not Found"))), "status"),
    "credentials wanted": ((Hear(), Say(http(b"", b"401 Unauthorized", b"WWW-Authenticate: Basic"))), "status"),
    "too long, as said": (
        (Hear(), Say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MOST_BYTES + 1))), "too large",
    ),
    "too long, unsaid": (
        (Hear(), Say(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(MOST_BYTES)), Say(b"\0"), Close()), "too large",
    ),
    "an endless head": ((Hear(), Say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60_000)), "broken response"),
    "not HTTP": ((Hear(), Say(b"SSH-2.0-x\r\n")), "broken response"),
    "a short body": ((Hear(), Say(http(der(LOWER))[:-1]), Close()), "broken response"),
    "a reset": ((Hear(), Reset()), "broken response"),
    "silence": ((Mute(),), "too slow"),
    "a slow drip": ((Hear(), *(Say(http(der(LOWER))[at : at + 1], after_ms=100) for at in range(300))), "too slow"),
    "chunks without end": (
        (Hear(), Say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1100)), "too large",
    ),
}


@pytest.mark.parametrize(("script", "outcome"), OTHERS.values(), ids=OTHERS)
def test_anything_else_is_told_and_proves_nothing(script: tuple[Step, ...], outcome: str) -> None:
    world = World(*script)
    started = world.net.now()
    found, _ = world.told(LEAF)
    assert outcomes(found) == [outcome]
    assert findings(found) == ()
    assert world.net.now() - started <= 2.1
    assert len(world.net.streams) == 1
    assert (len(world.net.pool), world.net.left_open) == (0, 0)


def test_a_closed_port_and_a_name_without_address() -> None:
    closed = World()
    closed.net.host(CA, 80, fault=REFUSED)
    found, ground = closed.told(LEAF)
    assert (outcomes(found), [one.outcome for one in ground.attempts]) == (["not connected"], ["ECONNREFUSED"])
    nowhere = leaf(LOWER, issuer_urls=["http://nowhere.lab.test/"])
    found, ground = closed.told(nowhere)
    assert (outcomes(found), ground.attempts) == (["no address"], [])


def test_a_second_address_stands_in_for_one_that_is_silent_and_no_third() -> None:
    others = ("203.0.113.81", "203.0.113.82", CA)
    for answering, outcome, sockets in ((1, "issuer", 2), (2, "not connected", 2)):
        world = World()
        world.net.name("ca.lab.test", *others).host(others[answering], 80, *answers(der(LOWER)))
        started = world.net.now()
        found, ground = world.told(LEAF)
        assert (outcomes(found), len(ground.attempts)) == ([outcome], sockets)
        assert {one.address for one in ground.attempts} == set(others[:2])
        assert world.net.now() - started <= 2.1


@pytest.mark.parametrize(
    "addresses", [("127.0.0.1",), ("169.254.169.254",), ("10.0.0.1",), (CA, "10.0.0.1"), ("::1",), ("64:ff9b::7f00:1",)]
)
def test_nothing_is_sent_to_an_address_that_nobody_named(addresses: Sequence[str]) -> None:
    world = World(*answers(der(LOWER)))
    world.net.name("ca.lab.test", *addresses)
    for address in addresses:
        world.net.host(address, 80, *answers(der(LOWER)))
    found, ground = world.told(LEAF)
    assert (outcomes(found), ground.attempts, findings(found)) == (["address denied"], [], ())
    assert not world.net.count("dial")


@pytest.mark.parametrize("url", ["http://203.0.113.80/x", "http://[::ffff:203.0.113.80]/x", "http://127.0.0.1/x"])
def test_a_literal_passes_the_same_gate(url: str) -> None:
    world = World(*answers(der(LOWER)), allow=())
    found, _ = world.told(leaf(LOWER, issuer_urls=[url]))
    assert outcomes(found) == ["address denied"]
    assert not world.net.count("dial")
    assert not world.net.count("resolve")


def test_odd_urls_are_told_and_nothing_is_sent_for_them() -> None:
    odd = ["ldap:///cn=x", "https://ca.lab.test/x", "http://u@ca.lab.test/"]
    world = World(*answers(der(LOWER)))
    found, _ = world.told(leaf(LOWER, issuer_urls=odd))
    assert outcomes(found) == ["url refused"] * 3
    assert not world.net.count("dial")
    found, _ = world.told(leaf(LOWER, issuer_urls=[*odd, URL]))
    assert outcomes(found) == ["url refused"] * 3 + ["issuer"]


def test_a_second_url_stands_in_for_the_first_and_no_third_is_asked() -> None:
    urls = [f"http://ca.lab.test/{number}" for number in range(4)]
    world = World(*answers(b""))
    found, _ = world.told(leaf(LOWER, issuer_urls=urls))
    assert outcomes(found) == ["no certificate"] * 2
    world = World(*answers(b""))
    world.net.host(CA, 80, *answers(der(LOWER)))
    found, _ = world.told(leaf(LOWER, issuer_urls=urls))
    assert outcomes(found) == ["no certificate", "issuer"]


def ladder(height: int) -> list[Issued]:
    """A root, and authorities below it each of which says where the one above is."""
    rungs = [authority("High Root")]
    for number in range(height):
        url = f"http://ca.lab.test/{number}"
        rungs.append(authority(f"Rung {number}", rungs[-1], issuer_urls=[url]))
    return rungs


@pytest.mark.parametrize(("height", "reached"), [(1, True), (2, True), (MOST_HOPS, True), (MOST_HOPS + 1, False)])
def test_it_goes_up_so_far_and_no_farther(height: int, reached: bool) -> None:
    rungs = ladder(height)
    lowest = leaf(rungs[-1], issuer_urls=[f"http://ca.lab.test/{height}"])
    world = World(trusted=rungs[0])
    for rung in reversed(rungs[1:]):
        world.net.host(CA, 80, *answers(der(rung)))
    found, ground = world.told(lowest)
    assert len(ground.attempts) == min(height, MOST_HOPS)
    assert [one.code for one in findings(found)] == (["tls.missing_intermediate"] if reached else [])


def test_two_that_name_each_other_end_the_search() -> None:
    one = authority("One", ROOT, issuer_urls=["http://ca.lab.test/two"])
    two = authority("Two", one, issuer_urls=["http://ca.lab.test/one"])
    loop = authority("One", two, twin=one, issuer_urls=["http://ca.lab.test/two"])
    lowest = leaf(loop, issuer_urls=["http://ca.lab.test/one"])
    world = World(trusted=authority("Else"))
    for rung in (loop, two, loop, two):
        world.net.host(CA, 80, *answers(der(rung)))
    found, ground = world.told(lowest)
    assert len(ground.attempts) <= MOST_HOPS
    assert findings(found) == ()


def test_a_root_at_the_end_that_nobody_trusts_is_no_trust() -> None:
    private = authority("Private")
    below = authority("Below", private, issuer_urls=["http://ca.lab.test/root"])
    lowest = leaf(below, issuer_urls=["http://ca.lab.test/below"])
    world = World(*answers(der(below)))
    world.net.host(CA, 80, *answers(der(private)))
    found, _ = world.told(lowest)
    told = findings(found)
    assert [one.code for one in told] == ["tls.missing_intermediate", "tls.untrusted_root"]
    assert told[1].summary.endswith("(CN=Private); it comes from http://ca.lab.test/root (AIA)")


def test_only_the_certificate_at_the_gap_is_asked() -> None:
    upper = authority("Upper", ROOT)
    lower = authority("Lower", upper, issuer_urls=["http://ca.lab.test/upper"])
    world = World(*answers(der(upper)))
    found, _ = world.told(leaf(lower, issuer_urls=[URL]), lower)
    assert [one["url"] for one in found.record()["aia"]] == ["http://ca.lab.test/upper"]
    assert [one.code for one in findings(found)] == ["tls.missing_intermediate"]


def test_a_root_that_nobody_trusts_does_not_hide_a_path_that_is_fetched() -> None:
    """Whoever was seen before: the private twin of the issuer, its root, or nobody."""
    private = authority("Private")
    twin = authority("Lower", private, twin=LOWER)
    for others in ((), (twin, private)):
        world = World(*answers(der(LOWER)))
        for one in others:
            world.fleet.pool(one, "198.51.100.7:443")
        seen = facts(LEAF)
        repaired = world.fleet.repair(LEAF)
        assert (repaired is not None) is bool(others)
        seen = replace(seen, repair=repaired)
        ground = world.ground(seen)
        assert in_doubt(ground, seen).repair is None
        assert in_doubt(replace(ground, errands=None), seen) is seen
        found = asyncio.run(world.ask(ground))
        assert found is not None
        assert [one.code for one in findings(found)] == ["tls.missing_intermediate"]
        closed = found.tls.repair
        assert closed is not None and closed.anchor is not None
        assert in_doubt(ground, found.tls) is found.tls


def test_what_the_pool_knows_is_told_where_nothing_can_be_fetched() -> None:
    private = authority("Private")
    world = World(*answers(b""))
    for one in (authority("Lower", private, twin=LOWER), private):
        world.fleet.pool(one, "198.51.100.7:443")
    found, _ = world.told(LEAF)
    assert [one.code for one in findings(found)] == ["tls.missing_intermediate", "tls.untrusted_root"]
    assert outcomes(found) == ["no certificate"]


def test_a_pool_full_of_namesakes_does_not_hide_what_was_fetched() -> None:
    world = World(*answers(der(LOWER)))
    for number in range(20):
        world.fleet.pool(authority("Lower", ROOT), f"198.51.100.{number}:443")
    found, _ = world.told(LEAF)
    assert [one.code for one in findings(found)] == ["tls.missing_intermediate"]


@pytest.mark.parametrize("presented", [LEAF, leaf(LOWER)])
def test_nothing_is_asked_unless_somebody_wants_it_and_there_is_a_place(presented: Issued) -> None:
    world = World(*answers(der(LOWER)))
    ground = world.ground(facts(presented))
    if presented is LEAF:
        ground.errands = None
    assert asyncio.run(world.ask(ground)) is None
    assert judge(None, POLICY) == ()
    assert not world.net.count("dial")


def test_a_chain_too_dear_to_verify_is_not_chased() -> None:
    world = World(*answers(der(LOWER)))
    seen = facts(LEAF)
    seen = replace(seen, handshake=replace(seen.handshake, too_dear=True))
    assert asyncio.run(world.ask(world.ground(seen))) is None


@pytest.mark.parametrize("errors", [((10, 0),), ((62, 0),), ((18, 0),), ((19, 1),), ()])
def test_where_there_is_no_gap_nothing_is_asked(errors: Sequence[tuple[int, int]]) -> None:
    world = World(*answers(der(LOWER)))
    seen = facts(LEAF, errors=errors or ((62, 0),))
    assert asyncio.run(world.ask(world.ground(seen))) is None


def test_targets_that_lack_the_same_share_one_fetch_and_its_failure() -> None:
    async def all_at_once(world: World) -> tuple[list[str], int]:
        grounds = [world.ground(facts(leaf(LOWER, issuer_urls=[URL]))) for _ in range(8)]
        found = await asyncio.gather(*map(world.ask, grounds))
        late = await world.ask(world.ground(facts(LEAF)))
        await world.errands.close()
        assert late is not None
        told = [outcome for one in (*found, late) if one is not None for outcome in outcomes(one)]
        return told, sum(len(ground.attempts) for ground in grounds)

    for body, outcome in ((der(LOWER), "issuer"), (b"", "no certificate")):
        world = World(*answers(body))
        assert asyncio.run(all_at_once(world)) == ([outcome] * 9, 1)
        assert world.net.count("dial") == 1


@pytest.mark.parametrize("cut", range(0, 64, 7))
def test_bent_answers_raise_nothing(cut: int) -> None:
    for whole in (der(LOWER), bundle(LOWER), LOWER.certificate.public_bytes(Encoding.PEM)):
        at = cut * len(whole) // 64
        bent = whole[:at] + b"\xff" + whole[at + 1 :]
        assert all(x509.load_der_x509_certificate(one) for one in certificates_in(bent))
        assert certificates_in(whole[: at // 2]) == ()


def test_an_answer_of_many_is_cut() -> None:
    many = [authority(f"CA {number}") for number in range(20)]
    assert len(certificates_in(bundle(*many))) == 16
