"""What a dialogue that leads to TLS has shown, without opinion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fleetprobe.layers.conversation import Ending
from fleetprobe.layers.first_bytes import name_protocol, printable
from fleetprobe.layers.starttls.talk import Stage, Word
from fleetprobe.net.path import Hole

_SHOWN_CHARS = 256
_EXTRA_CHARS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeFacts:
    """All that was said in plain text before TLS.

    | fact | type | meaning |
    |---|---|---|
    | starttls | text | the dialogue, named as the service |
    | stage | text | greeting, capabilities, upgrade: the last that was come to |
    | answer | text | ready, not offered, refused, turned away, foreign; not there: none came, or no whole one |
    | said | text | that answer, its first 256 characters |
    | offer | text | what was said before that answer, its first 256 characters |
    | unasked_bytes, unasked | int, text | what had come before the upgrade was asked for, and may not |
    | surplus_bytes, surplus | int, text | what had come behind the answer to the upgrade, a yes or a no |
    | too_much | bool | a cap on bytes, or on what readers may look at, was reached |

    and those of `Ending`.
    """

    service: str
    stage: Stage
    ending: Ending
    word: Word | None = None
    said: bytes = b""
    before: bytes = b""
    unasked: bytes = b""
    surplus: bytes = b""
    too_much: bool = False

    @property
    def clear(self) -> bool:
        """Whether TLS may begin: agreed, and not a byte too many."""
        return self.word is Word.READY and not self.unasked and not self.surplus

    @property
    def looks_like(self) -> str | None:
        """The protocol that the first bytes belong to."""
        return name_protocol(self.before + self.said + self.surplus)

    @property
    def hole(self) -> Hole | None:
        """The kernel's account of segments that vanished."""
        return self.ending.hole

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        told = {**self._talk(), **self.ending.record()}
        return {name: value for name, value in told.items() if value is not None}

    def brief(self) -> Mapping[str, Any]:
        """What of them stands beside the facts of the handshake that followed."""
        return {**self._talk(), "duration_ms": round(self.ending.duration_ms, 3)}

    def columns(self) -> Mapping[str, Any]:
        """Columns of the result record."""
        return self.ending.columns()

    def _talk(self) -> dict[str, Any]:
        told = {
            "starttls": self.service,
            "stage": str(self.stage),
            "answer": str(self.word) if self.word else None,
            "said": printable(self.said.rstrip(b"\r\n"), _SHOWN_CHARS) or None,
            "offer": printable(self.before, _SHOWN_CHARS) or None,
            "unasked_bytes": len(self.unasked) or None,
            "unasked": printable(self.unasked, _EXTRA_CHARS) or None,
            "surplus_bytes": len(self.surplus) or None,
            "surplus": printable(self.surplus, _EXTRA_CHARS) or None,
            "too_much": self.too_much or None,
        }
        return {name: value for name, value in told.items() if value is not None}
