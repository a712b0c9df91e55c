"""L7: the server answers one GET as it should, asked over the stream below, plain or TLS."""

from __future__ import annotations

from urllib.parse import quote

import h11

from fleetprobe.layer import Ground, Layer, Witness
from fleetprobe.layers.conversation import BREAKS, Conversation, Ending, Phase
from fleetprobe.layers.first_bytes import name_protocol
from fleetprobe.layers.http.facts import HttpFacts
from fleetprobe.layers.http.judge import CODES, judge
from fleetprobe.layers.http.response import FIRST_BYTES, Malformation, ResponseReader
from fleetprobe.model.target import Target
from fleetprobe.model.version import VERSION
from fleetprobe.net.interface import Event, Net

_READ_BYTES = 16 * 1024
_LOOK_CLOSER_S = 0.2
"""How long to wait for more of an answer that is not HTTP: only its name is at stake."""
_SCHEME_PORTS = {"http": 80, "https": 443}
_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_KEPT_FIELDS = (b"server", b"date", b"location", b"content-type", b"content-encoding")


async def probe(ground: Ground, net: Net) -> HttpFacts:
    """Send one GET and read the answer: head and body have `ground.exchange_s` each."""
    reader = ResponseReader()
    request = _request(ground.target, ground.pad_bytes)
    conversation = Conversation(ground, net)
    budget_s = ground.exchange_s
    until_s = ground.until(budget_s, net.now())
    await conversation.say(reader.ask(request), until_s)
    sent = conversation.event is Event.DONE
    if not sent:
        # What the peer said before is still there to be read; more will not come.
        budget_s, until_s = 0.0, net.now()
    await _listen(conversation, reader, until_s, head_only=True)
    head_s = net.now()
    if reader.head is not None:
        await _listen(conversation, reader, ground.until(budget_s, head_s), head_only=False)
    body_ms = (net.now() - head_s) * 1000.0
    if reader.malformation is Malformation.NOT_HTTP and len(reader.first) < FIRST_BYTES:
        reader.look_closer(await conversation.hear(FIRST_BYTES, ground.until(_LOOK_CLOSER_S, net.now())))
    return _facts(ground, request, reader, conversation.ending(_phase(reader, sent=sent)), body_ms)


async def _listen(
    conversation: Conversation, reader: ResponseReader, until_s: float, *, head_only: bool
) -> None:
    """Feed the reader until it has the head (or all), or until the conversation is over."""
    while not reader.done and not (head_only and reader.head is not None):
        data = await conversation.hear(_READ_BYTES, until_s)
        if data or conversation.event is Event.CLOSED:
            reader.feed(data)
        if not data:
            return


def _request(target: Target, pad_bytes: int) -> h11.Request:
    """GET, without cookies, credentials or an offer to compress. Bytes no header may hold are %-encoded.

    Padding is a header of its own that no server knows: whatever it answers, it has received the request.
    """
    headers = [
        ("Host", _visible(host_header(target))),
        ("User-Agent", f"fleetprobe/{VERSION}"),
        ("Accept", "*/*"),
        ("Connection", "close"),
    ]
    if pad_bytes:
        headers.append(("X-Padding", "x" * pad_bytes))
    return h11.Request(method="GET", target=_visible(target.path or "/"), headers=headers)


def host_header(target: Target) -> str:
    """What Host says (RFC 9112 §3.2): the name asked for, with the port unless it is the scheme's own."""
    if target.host_header:
        return target.host_header
    literal = ":" in target.host or target.host.replace(".", "").isdigit()
    host = target.sni if literal and target.sni else target.host.partition("%")[0]
    host = f"[{host}]" if ":" in host else host
    return host if target.port == _SCHEME_PORTS.get(target.service) else f"{host}:{target.port}"


def _visible(text: str) -> str:
    """The text with everything but visible ASCII %-encoded, so that it cannot break out of its place."""
    if text.isascii() and text.isprintable() and " " not in text:
        return text
    return quote(text, safe=_VISIBLE)


def _phase(reader: ResponseReader, *, sent: bool) -> Phase:
    if reader.done:
        return Phase.OVER
    if reader.head is not None:
        return Phase.IN_BODY
    if reader.first:
        return Phase.IN_HEAD
    return Phase.AFTER_REQUEST if sent else Phase.SENDING


def _facts(
    ground: Ground, request: h11.Request, reader: ResponseReader, ending: Ending, body_ms: float
) -> HttpFacts:
    expect, head, body = ground.target.expect, reader.head, bytes(reader.body)
    length = reader.header(b"content-length")
    return HttpFacts(
        request=f"GET {request.target.decode('ascii')} HTTP/1.1",
        host_header=request.headers[0][1].decode("ascii"),
        encrypted=ground.target.service == "https",
        ending=ending,
        status=head.status_code if head else None,
        reason=head.reason if head else b"",
        fields={
            name.decode("ascii"): value
            for name in _KEPT_FIELDS
            if (value := reader.header(name)) is not None
        },
        content_length_bytes=int(length) if length is not None else None,
        interim=reader.interim,
        body_bytes=reader.body_bytes,
        body_head=body[:256],
        body_ms=body_ms,
        body_complete=reader.complete,
        cut=reader.cut,
        expect_status=expect.status,
        expect_body=expect.body,
        body_as_expected=None if expect.body is None or head is None else _holds(body, expect.body),
        malformation=reader.malformation,
        detail=reader.detail,
        first_bytes=reader.first,
        looks_like=name_protocol(reader.first) if reader.malformation else None,
        speaks_tls=any(words in body for words in _SAYS_TLS),
        wants_certificate=_SAYS_NO_CERTIFICATE in body,
    )


_SAYS_TLS = (
    b"plain HTTP request was sent to HTTPS port",
    b"speaking plain HTTP to an SSL-enabled server port",
    b"Client sent an HTTP request to an HTTPS server",
)
"""What nginx, Apache and Go answer to plain HTTP on a TLS port."""


_SAYS_NO_CERTIFICATE = b"No required SSL certificate was sent"
"""What nginx answers, with 400, to who gave no client certificate (its own 496, as it stands in its log)."""


def _holds(body: bytes, text: str) -> bool:
    """Whether the text occurs, in UTF-8 or, for old pages, in Latin-1."""
    if text.encode("utf-8", "backslashreplace") in body:
        return True
    return all(char <= "\xff" for char in text) and text.encode("latin-1") in body


LAYER = Layer(
    name="http",
    probe=probe,
    judge=judge,
    everywhere=False,
    emits=CODES | BREAKS,
    duration="http_time_to_first_byte_ms",
    witnesses=(Witness(name="again", when=frozenset({"http.timeout", "tcp.stalled"})),),
)
