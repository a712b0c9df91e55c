"""What one HTTP exchange showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleetprobe.layers.conversation import Ending
from fleetprobe.layers.first_bytes import as_text
from fleetprobe.layers.http.response import Cut, Malformation
from fleetprobe.net.path import Hole

_LARGEST_EXACT = 2**53 - 1
_EXPECTATION_CHARS = 64
_DETAIL_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFacts:
    """One request and what came back.

    | fact | type | meaning |
    |---|---|---|
    | request, host_header, encrypted | text, text, bool | what was asked, of whom, over TLS or not |
    | response_status_code, response_reason | int, text | the final status line |
    | date | text | when the server thinks that it answered (RFC 9110 §6.6.1) |
    | response_server, location, content_type, content_encoding | text | header fields, cut at 256 bytes |
    | content_length_bytes | int | as declared |
    | interim_responses | int | 1xx before the final one |
    | body_bytes, body_head, body_ms | int, text, number | how much came; its first 256 bytes; how long |
    | body_complete, body_cut | bool, text | whether it came to its end; why we stopped before |
    | expect_status, expect_body, body_as_expected | list, text, bool | what the inventory asks for |
    | framing_error, framing_detail | text | what is wrong with the response |
    | first_bytes, looks_like | text | what came instead of HTTP |
    | time_to_first_byte_ms | number | from the request sent to the first byte back |

    and those of `Ending`.
    """

    request: str
    host_header: str
    encrypted: bool
    ending: Ending
    status: int | None = None
    reason: bytes = b""
    fields: Mapping[str, bytes] = field(default_factory=dict)
    """The header fields that matter, by lower-case name, as received."""
    content_length_bytes: int | None = None
    interim: int = 0
    body_bytes: int = 0
    body_head: bytes = b""
    body_ms: float = 0.0
    """From the whole head to the end of our reading."""
    body_complete: bool = False
    cut: Cut | None = None
    expect_status: tuple[tuple[int, int], ...] | None = None
    expect_body: str | None = None
    body_as_expected: bool | None = None
    malformation: Malformation | None = None
    detail: str = ""
    first_bytes: bytes = b""
    looks_like: str | None = None
    speaks_tls: bool = False
    """The answer says, in its own words, that the port wants TLS. For the summary only."""
    wants_certificate: bool = False
    """The answer says, in its own words, that a client certificate is missing."""

    @property
    def hole(self) -> Hole | None:
        """The kernel's account of segments that vanished."""
        return self.ending.hole

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        answered = self.status is not None
        facts: dict[str, Any] = {
            "request": self.request,
            "host_header": self.host_header,
            "encrypted": self.encrypted,
            "response_status_code": self.status,
            "response_reason": as_text(self.reason, 128) or None,
            "response_server": self._field("server"),
            "date": self._field("date"),
            "location": self._field("location"),
            "content_type": self._field("content-type"),
            "content_encoding": self._field("content-encoding"),
            "content_length_bytes": self._length(),
            "interim_responses": self.interim or None,
            "body_bytes": self.body_bytes if answered else None,
            "body_head": as_text(self.body_head, 256) or None,
            "body_ms": round(self.body_ms, 3) if answered else None,
            "body_complete": self.body_complete if answered else None,
            "body_cut": str(self.cut) if self.cut else None,
            "expect_status": [list(span) for span in self.expect_status] if self.expect_status else None,
            "expect_body": self.expect_body[:_EXPECTATION_CHARS] if self.expect_body else None,
            "body_as_expected": self.body_as_expected,
            "framing_error": str(self.malformation) if self.malformation else None,
            "framing_detail": self.detail[:_DETAIL_CHARS] or None,
            "first_bytes": as_text(self.first_bytes, 64) if self.malformation else None,
            "looks_like": self.looks_like,
            "time_to_first_byte_ms": _rounded(self.ending.first_byte_ms),
            **self.ending.record(),
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """Columns of the result record."""
        return {
            "http_response_status_code": self.status,
            "http_response_server": self._field("server"),
            **self.ending.columns(),
        }

    @property
    def duration_ms(self) -> float | None:
        """The phase that the record shows: from the request sent to the first byte; None without one."""
        return self.ending.first_byte_ms

    def _field(self, name: str) -> str | None:
        value = self.fields.get(name)
        return None if value is None else as_text(value, 256)

    def _length(self) -> int | None:
        """Never more than a JSON reader can hold exactly."""
        length = self.content_length_bytes
        return None if length is None else min(length, _LARGEST_EXACT)


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
