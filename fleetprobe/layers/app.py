"""L7: the service greets as it should. Only listens; not a byte is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layer import Ground, Layer, Witness, found, passed
from fleetprobe.layers.conversation import BREAKS, Conversation, Ending, Phase, broken
from fleetprobe.layers.first_bytes import as_text, name_protocol, printable
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Finding
from fleetprobe.net.interface import Event, Net
from fleetprobe.net.path import Hole

BANNER_BYTES = 8 * 1024
LINES = 256
"""An SSH server may say so many lines before its identification (RFC 4253 §4.2 sets no bound, so we do)."""

_READ_BYTES = 4096
_SSH_LINE = re.compile(rb"^(SSH-[^\r\n]{1,255})\r?\n", re.MULTILINE)
_SSH_BEGUN = re.compile(rb"^(S|SS|SSH|SSH-[^\r\n]*)\Z", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppFacts:
    """A greeting.

    | fact | type | meaning |
    |---|---|---|
    | service | text | the ladder: ssh or banner |
    | banner | text | what was said, its first 512 bytes |
    | identification | text | the SSH identification line (RFC 4253 §4.2) |
    | looks_like | text | the protocol that the first bytes belong to |
    | expect_body, body_as_expected | text, bool | the text that must occur, and whether it did |
    | first_byte_ms | number | from the connection to the first byte |

    and those of `Ending`.
    """

    service: str
    ending: Ending
    banner: bytes = b""
    expect_body: str | None = None

    @property
    def identification(self) -> bytes | None:
        """The SSH identification line, without its end."""
        return _identification(self.banner) if self.service == "ssh" else None

    @property
    def looks_like(self) -> str | None:
        """What the first bytes belong to."""
        return name_protocol(self.banner)

    @property
    def as_expected(self) -> bool | None:
        """Whether the expected text occurs; None when none is expected or nothing came."""
        return _holds(self.banner, self.expect_body) if self.expect_body and self.banner else None

    @property
    def hole(self) -> Hole | None:
        """The kernel's account of segments that vanished."""
        return self.ending.hole

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        first_ms = self.ending.first_byte_ms
        facts = {
            "service": self.service,
            "banner": as_text(self.banner, 512) or None,
            "identification": as_text(self.identification or b"", 255) or None,
            "looks_like": self.looks_like,
            "expect_body": self.expect_body[:64] if self.expect_body else None,
            "body_as_expected": self.as_expected,
            "first_byte_ms": None if first_ms is None else round(first_ms, 3),
            **self.ending.record(),
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """Columns of the result record."""
        return self.ending.columns()


async def probe(ground: Ground, net: Net) -> AppFacts:
    """Listen until the greeting is whole, the deadline passes or 8 KiB came."""
    conversation = Conversation(ground, net)
    until_s = ground.until(ground.exchange_s, net.now())
    banner, enough = b"", False
    while not enough:
        data = await conversation.hear(min(_READ_BYTES, BANNER_BYTES - len(banner)), until_s)
        if not data:
            break
        banner += data
        enough = _enough(ground.target, banner)
    phase = Phase.OVER if enough else Phase.IN_BANNER if banner else Phase.BEFORE_DATA
    return AppFacts(
        service=ground.target.service,
        ending=conversation.ending(phase),
        banner=banner,
        expect_body=ground.target.expect.body,
    )


def _enough(target: Target, banner: bytes) -> bool:
    """Whether more bytes could change nothing."""
    if len(banner) >= BANNER_BYTES:
        return True
    if target.service == "ssh":
        other = name_protocol(banner) not in (None, "SSH")
        return other or _identification(banner) is not None or banner.count(b"\n") >= LINES
    return target.expect.body is None or _holds(banner, target.expect.body)


def _identification(banner: bytes) -> bytes | None:
    line = _SSH_LINE.search(banner)
    return line[1] if line and banner.count(b"\n", 0, line.start()) < LINES else None


def _holds(banner: bytes, text: str) -> bool:
    return text.encode("utf-8", "backslashreplace") in banner


def judge(facts: AppFacts, policy: Policy) -> Sequence[Finding]:
    """Right greeting, other greeting, none."""
    ending, peer = facts.ending, facts.ending.peer
    unheard = ending.event in (Event.RESET, Event.ERROR) or (ending.event is Event.SILENT and ending.late)
    if not facts.banner or unheard:
        return (broken(ending, facts.record(), cut="app.protocol_mismatch", silent="app.no_banner"),)
    if facts.service == "ssh" and facts.identification is None:
        return (_not_ssh(facts),)
    if facts.as_expected is False:
        wanted = printable((facts.expect_body or "").encode("utf-8", "backslashreplace"), 40)
        summary = f'{peer} greets with "{_shown(facts)}", without "{wanted}"'
        return (found("app.protocol_mismatch", summary, facts.record()),)
    return (passed("app", facts.record()),)


def _not_ssh(facts: AppFacts) -> Finding:
    """Another protocol, or an SSH line that broke off."""
    ending, peer = facts.ending, facts.ending.peer
    if ending.phase is Phase.IN_BANNER and _SSH_BEGUN.search(facts.banner):
        return broken(ending, facts.record(), cut="app.protocol_mismatch", silent="tcp.stalled")
    if facts.looks_like not in (None, "SSH"):
        summary = f'{peer} speaks {facts.looks_like}, not SSH: "{_shown(facts)}"'
    else:
        summary = f'{peer} sent {len(facts.banner)} bytes and no SSH identification: "{_shown(facts)}"'
    return found("app.protocol_mismatch", summary, facts.record())


def _shown(facts: AppFacts) -> str:
    """The first line, safe to print."""
    return printable(facts.banner.strip().split(b"\n", 1)[0].rstrip(), 48)


LAYER = Layer(
    name="app",
    probe=probe,
    judge=judge,
    everywhere=False,
    emits=frozenset({"app.protocol_mismatch", "app.no_banner"}) | BREAKS,
    witnesses=(Witness(name="again", when=frozenset({"app.no_banner", "tcp.stalled"})),),
)
