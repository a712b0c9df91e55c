"""What a dialogue that leads to TLS is made of: questions, and readers that say where an answer ends and what it means.

A reader is given all that has come and not yet been taken. It answers `None` while more is wanted, never raises, and
its answer does not depend on how the bytes were cut into segments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

LINE_BYTES = 4096
"""A line, or a message, longer than this belongs to no greeting (RFC 5321 §4.5.3.1.5: 512; RFC 9051 §4: 8192 at most,
which no server comes near before anybody has logged in)."""

LINES = 256
"""An answer of more lines than this is none: every reader looks at all of them whenever more has come."""


class Stage(StrEnum):
    """How far a dialogue had come."""

    GREETING = "greeting"
    CAPABILITIES = "capabilities"
    UPGRADE = "upgrade"


class Word(StrEnum):
    """What an answer means for the way to TLS."""

    GOES_ON = "goes on"
    READY = "ready"
    """TLS may begin."""
    NOT_OFFERED = "not offered"
    REFUSED = "refused"
    TURNED_AWAY = "turned away"
    """The service serves nobody, or not us: it says so before TLS is spoken of."""
    FOREIGN = "foreign"
    """Nothing that this protocol could say here."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer: its meaning, and how many bytes it has."""

    word: Word
    taken: int


Reader = Callable[[bytes], Reply | None]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks, to whom."""

    name: str
    """The host that is asked for."""
    local_address: str | None = None
    """Ours, as the connection has it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What we say, if anything, and how the answer is read."""

    stage: Stage
    say: Callable[[Caller], bytes]
    read: Reader
    answered: bool = True
    """False: the next thing to be said is our ClientHello, and what comes in the place of TLS is read there."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """All that is said in plain text, in order, until an answer settles it; the last is the one to the upgrade."""

    questions: tuple[Question, ...]
    unasked: Callable[[bytes], bytes] = bytes
    """What of the bytes that came before the upgrade was asked for nobody may say by itself."""


def nothing(_: Caller) -> bytes:
    """Where the server speaks first."""
    return b""


def foreign(data: bytes) -> Reply:
    """All of it belongs to another protocol."""
    return Reply(Word.FOREIGN, len(data))


def begins(data: bytes, *openings: bytes) -> bool:
    """Whether what has come is, or can still become, one of these."""
    return any(data.startswith(opening) or opening.startswith(data) for opening in openings)
