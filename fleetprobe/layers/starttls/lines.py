"""Dialogues in lines of text: SMTP (RFC 3207), FTP (RFC 4217), IMAP (RFC 9051) and POP3 (RFC 2595)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fleetprobe.layers.starttls.talk import (
    LINE_BYTES,
    LINES,
    Caller,
    Dialogue,
    Question,
    Reader,
    Reply,
    Stage,
    Word,
    begins,
    foreign,
    nothing,
)

_NUMBER_BEGUN = re.compile(rb"[1-5]?\Z|[1-5][0-9]{1,2}\Z|[1-5][0-9]{2}[ \r\n-]")
_NUMBERED = re.compile(rb"([1-5][0-9]{2})([ -]|\Z)")
_PRELIMINARY = range(100, 200)
_GOOD = range(200, 300)
_NO_EXTENSIONS = frozenset({500, 502})
_LOGIN_FIRST = 530
"""In SMTP no answer to EHLO (RFC 4954 §6); an FTP server's to every command before a login (RFC 959 §5.4)."""


@dataclass(frozen=True, slots=True)
class _Line:
    """One line without its end, and where the next one begins."""

    text: bytes
    end: int


def _lines(data: bytes) -> Iterator[_Line]:
    """Every whole line; LF ends it, a CR before that belongs to the end, any other is a character like others."""
    start = 0
    while (at := data.find(b"\n", start)) >= 0:
        yield _Line(data[start:at].removesuffix(b"\r"), at + 1)
        start = at + 1


def _too_long(data: bytes) -> bool:
    if len(data) <= LINES:
        return False
    return data.count(b"\n") > LINES or max(map(len, data.split(b"\n"))) > LINE_BYTES


# SMTP and FTP: three digits, a hyphen behind them where more lines follow.


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A reply of one or more lines (RFC 5321 §4.2.1, RFC 959 §4.2)."""

    number: int
    lines: tuple[bytes, ...]
    end: int


def _numbered(meaning: Callable[[_Numbered], Word], *, free_lines: bool = False) -> Reader:
    """A reader of numbered replies. `free_lines`: between the first and the last line anything may stand, as in FTP."""

    def read(data: bytes) -> Reply | None:
        if not _NUMBER_BEGUN.match(data) or _too_long(data):
            return foreign(data)
        lines: list[bytes] = []
        for line in _lines(data):
            number = _NUMBERED.match(line.text)
            same = number is not None and (not lines or number[1] == lines[0][:3])
            if not same and not (free_lines and lines):
                return foreign(data)
            lines.append(line.text)
            if number is not None and same and number[2] != b"-":
                if free_lines and int(number[1]) in _PRELIMINARY:
                    # "Ready in so many minutes": the reply that counts is still to come.
                    lines.clear()
                    continue
                reply = _Numbered(int(number[1]), tuple(lines), line.end)
                return Reply(meaning(reply), line.end)
        return None

    return read


def _greeting(reply: _Numbered) -> Word:
    return Word.GOES_ON if reply.number == 220 else Word.TURNED_AWAY


def _features(reply: _Numbered) -> Word:
    """What EHLO is answered with; a server without extensions does not know the word (RFC 5321 §4.1.4)."""
    if reply.number in _GOOD:
        keywords = {line[4:].strip().upper() for line in reply.lines[1:]}
        return Word.GOES_ON if b"STARTTLS" in keywords else Word.NOT_OFFERED
    if reply.number == _LOGIN_FIRST:
        return Word.FOREIGN
    return Word.NOT_OFFERED if reply.number in _NO_EXTENSIONS else Word.TURNED_AWAY


def _agreed(number: int) -> Callable[[_Numbered], Word]:
    return lambda reply: Word.READY if reply.number == number else Word.REFUSED


def _agreed_or_unknown(reply: _Numbered) -> Word:
    """Who knows AUTH and not this word for it (RFC 2228 §5.2) may know the one from before RFC 4217."""
    return Word.GOES_ON if reply.number == 504 else _agreed(234)(reply)


def _ehlo(caller: Caller) -> bytes:
    """We have no name to give: an address literal stands for it (RFC 5321 §4.1.3)."""
    address = (caller.local_address or "127.0.0.1").partition("%")[0]
    return f"EHLO [{'IPv6:' if ':' in address else ''}{address}]\r\n".encode()


def _said(text: bytes) -> Callable[[Caller], bytes]:
    return lambda _: text


SMTP = Dialogue((
    Question(Stage.GREETING, nothing, _numbered(_greeting)),
    Question(Stage.CAPABILITIES, _ehlo, _numbered(_features)),
    Question(Stage.UPGRADE, _said(b"STARTTLS\r\n"), _numbered(_agreed(220))),
))

# FEAT is not asked for: it is optional, some servers answer it only after a login, and AUTH is asked as cheaply.
FTP = Dialogue((
    Question(Stage.GREETING, nothing, _numbered(_greeting, free_lines=True)),
    Question(Stage.UPGRADE, _said(b"AUTH TLS\r\n"), _numbered(_agreed_or_unknown, free_lines=True)),
    Question(Stage.UPGRADE, _said(b"AUTH SSL\r\n"), _numbered(_agreed(234), free_lines=True)),
))


# IMAP: answers end with the tag of the question, and untagged lines may stand before it, or anywhere.


def _imap_greeting(data: bytes) -> Reply | None:
    """Who is logged in already cannot begin TLS (RFC 9051 §6.2.1): a known way to keep a client from it."""
    if not begins(data, b"* ") or _too_long(data):
        return foreign(data)
    line = next(_lines(data), None)
    if line is None:
        return None
    words = line.text[2:].split(maxsplit=1)
    said = {b"OK": Word.GOES_ON, b"PREAUTH": Word.NOT_OFFERED, b"BYE": Word.TURNED_AWAY}
    word = said.get(words[0].upper() if words else b"")
    return foreign(data) if word is None else Reply(word, line.end)


def _tagged(tag: bytes, meaning: Callable[[bool, list[bytes]], Word]) -> Reader:
    """A reader of everything up to the tagged line; `meaning` is told whether that says OK, and the lines before it."""

    def read(data: bytes) -> Reply | None:
        if not begins(data, b"* ", tag + b" ") or _too_long(data):
            return foreign(data)
        untagged: list[bytes] = []
        for line in _lines(data):
            if line.text.startswith(b"* "):
                untagged.append(line.text[2:].upper())
                if untagged[-1].split()[:1] == [b"BYE"]:
                    # The connection ends, whatever was asked (RFC 9051 §7.1.5).
                    return Reply(Word.TURNED_AWAY, line.end)
                continue
            words = line.text.split(maxsplit=2)
            if len(words) < 2 or words[0] != tag or words[1].upper() not in (b"OK", b"NO", b"BAD"):
                return foreign(data)
            return Reply(meaning(words[1].upper() == b"OK", untagged), line.end)
        return None

    return read


def _imap_capabilities(fine: bool, untagged: list[bytes]) -> Word:
    lists = [line.split() for line in untagged]
    offered = any(words[:1] == [b"CAPABILITY"] and b"STARTTLS" in words for words in lists)
    return Word.GOES_ON if fine and offered else Word.NOT_OFFERED


def _imap_agreed(fine: bool, _: list[bytes]) -> Word:
    return Word.READY if fine else Word.REFUSED


def _tagged_early(data: bytes) -> bytes:
    """An untagged line may come at any time (RFC 9051 §2.2.2), in parts too; the answer to a question only after it."""
    *lines, begun = data.split(b"\n")
    rest = [] if begins(begun, b"* ") else [begun]
    return b"\n".join([*(line for line in lines if not line.startswith(b"* ")), *rest])


IMAP = Dialogue(
    (
        Question(Stage.GREETING, nothing, _imap_greeting),
        Question(Stage.CAPABILITIES, _said(b"f1 CAPABILITY\r\n"), _tagged(b"f1", _imap_capabilities)),
        Question(Stage.UPGRADE, _said(b"f2 STARTTLS\r\n"), _tagged(b"f2", _imap_agreed)),
    ),
    _tagged_early,
)


# POP3: +OK or -ERR.


def _pop3(good: Word, bad: Word) -> Reader:
    def read(data: bytes) -> Reply | None:
        if not begins(data, b"+OK", b"-ERR") or _too_long(data):
            return foreign(data)
        line = next(_lines(data), None)
        return None if line is None else Reply(good if data.startswith(b"+OK") else bad, line.end)

    return read


def _capa(data: bytes) -> Reply | None:
    """A list that ends with a dot by itself (RFC 2449 §5); who does not know CAPA may know STLS, which is older."""
    first = _pop3(Word.GOES_ON, Word.GOES_ON)(data)
    if first is None or first.word is not Word.GOES_ON or data.startswith(b"-ERR"):
        return first
    offered = False
    for line in _lines(data):
        if line.text == b".":
            return Reply(Word.GOES_ON if offered else Word.NOT_OFFERED, line.end)
        offered = offered or (line.end > first.taken and line.text.strip().upper() == b"STLS")
    return None


POP3 = Dialogue((
    Question(Stage.GREETING, nothing, _pop3(Word.GOES_ON, Word.TURNED_AWAY)),
    Question(Stage.CAPABILITIES, _said(b"CAPA\r\n"), _capa),
    Question(Stage.UPGRADE, _said(b"STLS\r\n"), _pop3(Word.READY, Word.REFUSED)),
))
