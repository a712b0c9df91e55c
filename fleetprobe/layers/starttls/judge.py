"""What a dialogue that leads to TLS means: no offer, a refusal, a lie between the two, or another service."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from fleetprobe.layer import found
from fleetprobe.layers.conversation import BREAKS, broken
from fleetprobe.layers.first_bytes import printable
from fleetprobe.layers.starttls.facts import UpgradeFacts
from fleetprobe.layers.starttls.packets import ldap_result, mysql_error
from fleetprobe.layers.starttls.talk import Stage, Word
from fleetprobe.layers.tls import judge as tls
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import Event

EMITS: Final = tls.EMITS | BREAKS | {
    "tls.starttls_refused", "tls.starttls_injected", "app.no_banner", "app.protocol_mismatch", "app.unexpected",
}

_BLANKED: Final = re.compile(rb"(?:^|(?<=\s)|(?<=[0-9]-))X{4,}[A-Z]?(?![\w-])|\*{8,}")
"""Words that a filter has painted over so that the length stays, as Cisco's inspection of SMTP does."""
_UNKNOWN_COMMAND: Final = re.compile(rb"50[02][ -]")
_SMTP_WORD: Final = re.compile(rb"(?<![\w.-])E?SMTP(?![\w.-])", re.IGNORECASE)
_FTP_WORD: Final = re.compile(rb"FTPd?(?![\w.-])", re.IGNORECASE)
_NUMBERED: Final = {"smtp": (_SMTP_WORD, _FTP_WORD), "ftp": (_FTP_WORD, _SMTP_WORD)}
"""A greeting names its protocol by such a word; the names of hosts, smtp.example or ftp01, do not count."""
_ITS_OWN: Final = {"smtp": re.compile(rb"^250", re.MULTILINE), "ftp": re.compile(rb"^(3..|431|530|534)", re.MULTILINE)}
"""Answers to EHLO, and to AUTH TLS (RFC 4217 §4), that the other of the two does not give."""
_IN_LINES: Final = frozenset({"smtp", "imap", "pop3", "ftp"})
_NO: Final = re.compile(rb"<(?:[\w.-]+:)?error[\s/>]|^\* BYE", re.MULTILINE | re.IGNORECASE)
"""XMPP puts its error behind the head of a stream, IMAP its farewell behind other untagged lines."""
_SENTENCE_CHARS: Final = 48
_TEXT_BYTES: Final = bytes([9, 10, 13, *range(32, 127)])
_WORDS: Final = re.compile(rb"[ -~]{4,}")
_SOONEST_SHARE: Final = 0.5
"""Of a round trip: what comes sooner after our hello is no answer to it."""
_LEAST_RTT_MS: Final = 2.0
"""Below it the kernel's figure is not sharper than the clock of the loop."""


def judge(facts: UpgradeFacts | TlsFacts, policy: Policy) -> Sequence[Finding]:
    """Of the dialogue where it led nowhere, else of the handshake."""
    if isinstance(facts, UpgradeFacts):
        return (_said(facts),)
    findings = list(tls.judge(facts, policy))
    if findings[0].code == "tls.not_tls" and facts.upgrade is not None:
        findings[0] = _no_tls_after_all(facts, facts.upgrade, findings[0])
    return tuple(findings)


def _said(facts: UpgradeFacts) -> Finding:
    if _is_another(facts):
        return _foreign(facts)
    match facts.word:
        case Word.READY:
            return _injected(facts)
        case Word.NOT_OFFERED:
            return _not_offered(facts)
        case Word.REFUSED:
            return _refused(facts)
        case Word.TURNED_AWAY:
            error = _NO.search(facts.said)
            words = _words(facts.said[error.start() if error else 0 :])
            summary = f'{facts.ending.peer} speaks {_named(facts)} and turns us away: "{words}"'
            return found("app.unexpected", summary, facts.record())
        case Word.FOREIGN:
            return _foreign(facts)
        case _:
            return _unfinished(facts)


def _is_another(facts: UpgradeFacts) -> bool:
    """Whether the answer is one that two protocols know, and the rest belongs to the other one."""
    if facts.service == "postgres" and facts.surplus:
        # The whole answer of PostgreSQL is an S or an N, and so is the beginning of another greeting. Behind a yes
        # there may be an injection; behind a no PostgreSQL waits for us.
        return facts.word is Word.REFUSED or facts.looks_like is not None
    if facts.service not in _NUMBERED or facts.word in (Word.READY, None):
        return False
    own, other = _NUMBERED[facts.service]
    proven = own.search(facts.before) or _ITS_OWN[facts.service].search(facts.before + facts.said)
    return not proven and bool(other.search(facts.before))


def _injected(facts: UpgradeFacts) -> Finding:
    """Bytes where none may be: behind the agreement, or an agreement that came before it was asked for."""
    peer = facts.ending.peer
    if facts.surplus:
        where = "behind the answer to the upgrade" if facts.said else "behind the greeting"
        summary = f'{peer} sent {len(facts.surplus)} plain bytes {where}, before TLS: "{_words(facts.surplus)}"'
        how = "surplus"
    else:
        summary = f'{peer} agreed to the upgrade before it was asked: "{_words(facts.unasked)}"'
        how = "unasked"
    return found("tls.starttls_injected", summary, {**facts.record(), "how": how})


def _not_offered(facts: UpgradeFacts) -> Finding:
    peer, service = facts.ending.peer, _named(facts)
    if facts.stage is Stage.GREETING and facts.service == "imap":
        summary = f"{peer} greets us as logged in already (PREAUTH), after which IMAP has no upgrade to TLS"
        return _no_upgrade(facts, summary, "not_offered", stripped=True)
    stripped = _blanked(facts, facts.before + facts.said)
    summary = f"{peer} speaks {service} and does not offer the upgrade to TLS"
    if stripped:
        summary += "; words in its offer are blanked, as a filter on the way does it"
    return _no_upgrade(facts, summary, "not_offered", stripped=stripped)


def _refused(facts: UpgradeFacts) -> Finding:
    """Whoever offers the upgrade knows the command: that it is unknown when we say it points to a filter."""
    unknown = facts.service == "smtp" and bool(_UNKNOWN_COMMAND.match(facts.said))
    stripped = unknown or bool(facts.unasked) or _blanked(facts, facts.said)
    result = ldap_result(facts.said) if facts.service == "ldap" else None
    words = f"result {result}" if result is not None else f'"{_words(facts.said)}"'
    summary = f"{facts.ending.peer} speaks {_named(facts)} and refuses the upgrade to TLS: {words}"
    if facts.unasked:
        summary += ", before it was asked"
    elif stripped:
        summary += "; a filter may have changed our words"
    return _no_upgrade(facts, summary, "refused", stripped=stripped)


def _no_upgrade(facts: UpgradeFacts, summary: str, how: str, *, stripped: bool) -> Finding:
    told: Mapping[str, Any] = {**facts.record(), "how": how, **({"stripped": True} if stripped else {})}
    wish = ("tls.interception_suspected",) if stripped else ()
    return found("tls.starttls_refused", summary, told, could_also_be=wish)


def _foreign(facts: UpgradeFacts) -> Finding:
    peer = facts.ending.peer
    like = facts.looks_like
    if like in ("TLS", "TLS alert"):
        what = "speaks TLS from the first byte"
    elif like is not None and facts.service not in like.lower():
        what = f"speaks {like}, not {_named(facts)}"
    else:
        what = f"does not speak {_named(facts)} as it should"
    summary = f'{peer} {what}: "{_words(facts.said + facts.surplus)}"'
    return found("app.protocol_mismatch", summary, facts.record())


def _unfinished(facts: UpgradeFacts) -> Finding:
    """No whole answer: too long a one, or the end of the connection, or silence."""
    ending = facts.ending
    if facts.too_much:
        summary = f"{ending.peer} sent {ending.bytes_received} bytes and no end of its {facts.stage} as {_named(facts)}"
        return found("app.protocol_mismatch", summary, facts.record())
    last = facts.before.rstrip().rpartition(b"\n")[2]
    if facts.service == "ftp" and last.startswith(b"504") and not facts.said:
        said = f'"{_words(last)}", and nothing when asked again'
        summary = f"{ending.peer} speaks FTP and refuses the upgrade to TLS: {said}"
        return _no_upgrade(facts, summary, "refused", stripped=False)
    if ending.event is Event.CLOSED and facts.before and not facts.said:
        summary = f"{ending.peer} speaks {_named(facts)} and closed in answer to our {_ASKED[facts.stage]}"
        told = {**facts.record(), "how": "closed"}
        return found(
            "tls.starttls_refused", summary, told,
            confidence=Confidence.INFERRED, could_also_be=("tcp.closed", "tls.interception_suspected"),
        )
    pauses = ending.event is Event.SILENT and _pauses(facts)
    silent = "tcp.stalled" if ending.bytes_received and not pauses else "app.no_banner"
    finding = broken(ending, facts.record(), cut="app.protocol_mismatch", silent=silent)
    if finding.code != "app.no_banner":
        return finding
    if pauses:
        return replace(finding, could_also_be=("app.slow",))
    return replace(finding, summary=f"{finding.summary}; so does a port that waits for TLS at once"[:160])


def _pauses(facts: UpgradeFacts) -> bool:
    """Whether it stopped between two lines of its greeting, as mail servers do that wait for the impatient.

    Nothing of ours was under way, and of its own nothing is missing: no sign of a path that swallows packets.
    """
    return facts.stage is Stage.GREETING and facts.ending.hole is None and facts.said.endswith(b"\n")


def _no_tls_after_all(facts: TlsFacts, said: UpgradeFacts, finding: Finding) -> Finding:
    """It agreed, and something else than TLS came behind our hello: an answer to that, or said long before."""
    first, seen = facts.handshake.first_bytes, facts.handshake
    if said.service == "mysql" and mysql_error(first):
        summary = f'{facts.address} offers TLS and refuses the request for it: "{_words(first[7:])}"'
        return found("tls.starttls_refused", summary, {**finding.facts, "how": "refused"}, could_also_be=())
    words = f'plain bytes behind its agreement to TLS: "{_words(first)}"'
    after_ms = ((seen.heard_s or seen.ended_s) - seen.started_s) * 1000.0
    rtt_ms = facts.rtt_ms or 0.0
    if rtt_ms >= _LEAST_RTT_MS and after_ms < _SOONEST_SHARE * rtt_ms:
        summary = f"{facts.address} sent {words}, {after_ms:.1f} ms after our hello and too soon to answer it"
        return found("tls.starttls_injected", summary, {**finding.facts, "how": "too_soon"})
    summary = f"{facts.address} sent {words}"
    return replace(finding, summary=summary[:160], could_also_be=("tls.starttls_injected",))


_ASKED: Final = {
    Stage.GREETING: "connection", Stage.CAPABILITIES: "question for its features", Stage.UPGRADE: "wish for TLS",
}
_NAMES: Final = {"postgres": "PostgreSQL", "mysql": "MySQL"}


def _named(facts: UpgradeFacts) -> str:
    """The protocol as people write it."""
    return _NAMES.get(facts.service, facts.service.upper())


def _words(data: bytes) -> str:
    """The first line of what was said, safe to print; of a binary message what words it holds."""
    if data.translate(None, _TEXT_BYTES):
        data = b" ".join(_WORDS.findall(data)) or data
    return printable(data.strip().split(b"\n", 1)[0].rstrip(), _SENTENCE_CHARS)


def _blanked(facts: UpgradeFacts, text: bytes) -> bool:
    return facts.service in _IN_LINES and bool(_BLANKED.search(text))
