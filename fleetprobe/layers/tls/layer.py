"""L5/6: the peer completes a TLS handshake over the open connection, and its certificates hold."""

from __future__ import annotations

from dataclasses import replace

from fleetprobe.layer import Ground, Layer, Witness
from fleetprobe.layers.tls import aia, chain, default_certificate, exchange, large_hello, other_name, other_offer
from fleetprobe.layers.tls.certificate import read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import try_issuers
from fleetprobe.layers.tls.held import hold
from fleetprobe.layers.tls.judge import EMITS, judge
from fleetprobe.layers.tls.offer import asked_name, offer
from fleetprobe.layers.tls.repair import pool, repair
from fleetprobe.net.interface import Event, Fault, Net

_CERTIFICATES_READ = 16
_LAST_WORD_S = 0.5
_SAYS_NO_LATE = "TLSv1.3"


async def probe(ground: Ground, net: Net) -> TlsFacts:
    """Shake hands over the stream of this climb; on success the ground goes on with the TLS stream.

    A failed handshake leaves the plain stream on the ground, for the engine to end.
    """
    assert ground.stream is not None
    assert ground.address is not None
    info = ground.stream.info()
    target = ground.target
    until_s = ground.until(ground.exchange_s, net.now())
    hole_s = ground.hole_s(info.rtt_ms if info else None)
    deciding, *others = ground.policy.trust.of(target)
    hello = replace(offer(target), ca_file=deciding.file)
    handshake, stream = await net.handshake(ground.stream, hello, until_s, hole_s)
    last_word = None
    if stream is not None:
        ground.stream = stream
        late = handshake.client_certificate_requested and handshake.protocol_version == _SAYS_NO_LATE
        if late and target.service != "https":
            # Only after our side of the handshake is done (RFC 8446 §4.4.2.4); before 1.3 its end is the acceptance.
            got = await stream.receive(1, ground.until(_LAST_WORD_S, net.now()))
            last_word = got.fault or (Fault(got.event) if got.event in (Event.CLOSED, Event.RESET) else None)
    presented = handshake.chain_der[:_CERTIFICATES_READ]
    # Most of the path was presented; a large one is not read twice.
    known = {der: read(der) for der in {*presented, *handshake.path_der}}
    certificates = tuple(known[der] for der in presented)
    path = tuple(known[der] for der in handshake.path_der)
    ders = {one.sha256: der for der, one in known.items()}
    # What is too dear to verify once is not verified again, and vouches for nothing.
    affordable, errors = not handshake.too_dear, handshake.verify_errors
    held_by = frozenset(one.sha256 for one in path) if affordable and not errors else frozenset()
    text = ground.address.text
    address = f"[{text}]:{target.port}" if ":" in text else f"{text}:{target.port}"
    pool(net, certificates, held_by, ders, address)
    seen = TlsFacts(
        address=address,
        server_name=asked_name(target),
        handshake=handshake,
        certificates=certificates,
        rtt_ms=info.rtt_ms if info else None,
        last_word=last_word,
        path=path,
        trials=try_issuers(certificates, path, errors, ders),
        alpn_offered=hello.alpn,
        ca_file=target.ca_file,
        trust=deciding.label,
        held=await hold(handshake, others if affordable else [], known, net),
        repair=(
            await repair(
                certificates, errors, ders, net, deciding.file, ground.policy.as_of,
                sent=[read(der).sha256 for der in handshake.chain_der[_CERTIFICATES_READ:]],
            )
            if errors and affordable else None
        ),
    )
    return aia.in_doubt(ground, seen)


LAYER = Layer(
    name="tls",
    probe=probe,
    judge=judge,
    emits=EMITS | large_hello.EMITS | other_name.EMITS | other_offer.EMITS | default_certificate.EMITS,
    duration="tls_handshake_duration_ms",
    everywhere=False,
    witnesses=(Witness(name="again", when=exchange.SILENT), aia.WITNESS),
    # A chain that is too large or too dear ends the handshake, and with it the climb.
    goes_on=chain.EMITS - exchange.EMITS,
)
