"""Whether a certificate for another name is the one that the server shows to everybody whose site it does not know.

Two connections at most. A short hello with the same name: who reads only a part of a long one misses the name in it,
and a router that does so shows its own certificate (`large_hello` is about those that refuse). If the short one gets
the right certificate, a long hello is said once more, and must get the wrong one again. If it gets the same as the
climb, a hello without a name is said: the same certificate once more is the default one. Nobody asks where the names
nearly fit, as with a wildcard one label short: such a certificate was made for this site, and made wrongly, and a
server that has no other shows it to everybody as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleetprobe.layer import Ground, Witness, found
from fleetprobe.layers.first_bytes import printable
from fleetprobe.layers.sockets import where
from fleetprobe.layers.tls import trial
from fleetprobe.layers.tls.certificate import Certificate, read
from fleetprobe.layers.tls.names import mismatch
from fleetprobe.layers.tls.offer import offer
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Address, Net

WHEN = frozenset({"tls.name_mismatch"})
EMITS = frozenset({"tls.name_mismatch", "tls.large_hello_intolerant"})

_UNRELATED = frozenset({"not_in_san", "no_san"})
"""Reasons of a mismatch (`names`) by which the certificate has nothing to do with the name asked."""
_MOST = 2
_NEAR = 8
SHORT, LONG, NAMELESS = "short", "long", "without a name"


@dataclass(frozen=True, slots=True)
class Shown:
    """One hello and the certificate that it got."""

    hello: str
    size_bytes: int
    leaf_sha256: str | None
    """None: it was shown none."""
    fits: bool
    """Whether the certificate is for the name asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultFacts:
    """Which certificate is shown to which hello.

    | field | type | meaning |
    |---|---|---|
    | server_name | text | the name that the certificate must cover |
    | climb_sha256, climb_bytes | hex, int | the certificate of the climb, and how long its hello was |
    | shown | list of {hello, size_bytes, leaf_sha256, fits} | the hellos of this witness, in the order said |
    | reason | text | default_certificate, where a hello without a name got the same as the climb |
    | near | list of text | the first names of that certificate |
    """

    address: Address
    port: int
    server_name: str
    climb_bytes: int
    leaf: Certificate
    shown: tuple[Shown, ...]

    @property
    def is_default(self) -> bool:
        """Whether the climb got what everybody gets who names no site."""
        return any(one.hello == NAMELESS and one.leaf_sha256 == self.leaf.sha256 for one in self.shown)

    @property
    def names(self) -> tuple[str, ...]:
        """For whom the certificate is, the first of them."""
        return tuple(one[:256] for one in (*self.leaf.dns_names, *self.leaf.ip_addresses)[:_NEAR])

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        known = {"reason": "default_certificate", "near": list(self.names)} if self.is_default else {}
        return {
            **known,
            "server_name": self.server_name,
            "climb_sha256": self.leaf.sha256,
            "climb_bytes": self.climb_bytes,
            "shown": [
                {"hello": one.hello, "size_bytes": one.size_bytes, "leaf_sha256": one.leaf_sha256, "fits": one.fits}
                for one in self.shown
            ],
        }

    def columns(self) -> Mapping[str, Any]:
        """A witness fills no column: those belong to the climb."""
        return {}


async def probe(ground: Ground, net: Net) -> DefaultFacts | None:
    """Two hellos at most. None: no name was sent, so that there is nothing to compare, or it is a near miss."""
    assert ground.address is not None
    climbed = ground.facts.get("tls")
    hello = replace(offer(ground.target), small=True)
    if climbed is None or hello.server_name is None or ground.handshakes_left < _MOST:
        return None
    leaf = climbed.certificates[0] if climbed.certificates else None
    asked = climbed.server_name
    if not isinstance(leaf, Certificate) or (missed := mismatch(leaf, asked)) is None:
        return None
    if missed.reason not in _UNRELATED:
        return None
    sent = climbed.handshake.hello_bytes
    shown = [_shown(SHORT, await trial.shake(ground, net, hello, "default"), asked)]
    if shown[0].fits:
        again = replace(hello, pad_to_bytes=sent)
        shown.append(_shown(LONG, await trial.shake(ground, net, again, "default"), asked))
    elif shown[0].leaf_sha256 == leaf.sha256:
        nameless = replace(hello, server_name=None)
        shown.append(_shown(NAMELESS, await trial.shake(ground, net, nameless, "default"), asked))
    return DefaultFacts(
        address=ground.address, port=ground.target.port, server_name=asked, climb_bytes=sent, leaf=leaf,
        shown=tuple(shown),
    )


def judge(facts: DefaultFacts | None, policy: Policy) -> Sequence[Finding]:
    """The default certificate by comparison; the length of the hello by its coming and going."""
    if facts is None or len(facts.shown) < _MOST or facts.shown[1].leaf_sha256 != facts.leaf.sha256:
        return ()
    there, name = where(facts.address.text, facts.port), printable(facts.server_name.encode(), 40)
    if facts.shown[0].fits:
        small, large = facts.shown[0].size_bytes, facts.shown[1].size_bytes
        summary = (
            f"{there} shows the certificate of {name} to a ClientHello of {small} bytes and another to one of {large}"
        )
        # Two servers that take turns behind one address would answer so as well.
        return (
            found(
                "tls.large_hello_intolerant", summary, facts.record(), confidence=Confidence.INFERRED,
                could_also_be=("tls.name_mismatch",), supersedes=WHEN,
            ),
        )
    only = f": {printable(', '.join(facts.names[:2]).encode('utf-8', 'backslashreplace'), 40)}" if facts.names else ""
    summary = f"{there} shows for {name} the same certificate as to a hello without a name{only}"
    return (found("tls.name_mismatch", summary, facts.record(), confidence=Confidence.PROVEN),)


def _shown(which: str, handshake: Handshake | None, asked: str) -> Shown:
    leaf = read(handshake.chain_der[0]) if handshake is not None and handshake.chain_der else None
    fits = isinstance(leaf, Certificate) and mismatch(leaf, asked) is None
    return Shown(which, handshake.hello_bytes if handshake else 0, leaf.sha256 if leaf else None, fits)


WITNESS = Witness(name="default", when=WHEN, probe=probe, judge=judge, layer="tls")
