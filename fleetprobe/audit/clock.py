"""Our own clock held against those of the servers, by the Date of their responses (RFC 9110 §6.6.1)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Any, Final

Row = Mapping[str, Any]

_MOST: Final = 4096
_FEWEST: Final = 3
_WORTH_S: Final = 300.0
_APART_S: Final = 60.0
_AGREE: Final = 0.6
"""So large a part of all servers must tell about the same time: some have wrong clocks, or answer from a cache."""
DATES: Final = frozenset({"tls.expired", "tls.not_yet_valid"})
"""The codes that a wrong clock explains."""


class Clocks:
    """Collects while results pass by: one difference for each address, at most 4,096 of them."""

    def __init__(self) -> None:
        self._ahead_s: dict[str, float] = {}

    def see(self, row: Row) -> None:
        """Take note of when a server thought that it answered."""
        for layer in row["layers"]:
            date = layer["facts"].get("date") if layer["layer"] == "http" else None
            address = row["network_peer_address"]
            if date is None or address is None or (len(self._ahead_s) >= _MOST and address not in self._ahead_s):
                continue
            theirs = _moment(date)
            if theirs is not None:
                ours = datetime.fromisoformat(row["started_at"]) + timedelta(milliseconds=layer["start_ms"] or 0.0)
                self._ahead_s[address] = (theirs - ours).total_seconds()

    @property
    def ahead_s(self) -> float | None:
        """By how much the servers are ahead of us in seconds (negative: behind); None where they say nothing of it."""
        told = list(self._ahead_s.values())
        if len(told) < _FEWEST:
            return None
        middle, agree = median(told), self.servers
        return middle if abs(middle) >= _WORTH_S and agree >= max(_FEWEST, _AGREE * len(told)) else None

    @property
    def servers(self) -> int:
        """How many addresses told about the same time, the middle one of all."""
        told = list(self._ahead_s.values())
        middle = median(told) if told else 0.0
        return sum(abs(one - middle) <= _APART_S for one in told)

    def excuses(self, row: Row) -> bool:
        """Whether a result failed for dates alone, which would all be good by the clocks of the servers."""
        ahead_s = self.ahead_s
        failed = {row["code"], *(one["code"] for one in row["findings"] if one["severity"] == "fail")}
        if ahead_s is None or not failed <= DATES:
            return False
        told = (*row["layers"], *row["findings"])
        out = [one for entry in told for one in entry["facts"].get("out_of_date", ())]
        now = datetime.now(UTC) + timedelta(seconds=ahead_s)
        return bool(out) and all(_in_date(one, now) for one in out)


def _moment(date: str) -> datetime | None:
    try:
        told = parsedate_to_datetime(date)
    except (TypeError, ValueError, OverflowError):
        return None
    return told if told.tzinfo is not None else told.replace(tzinfo=UTC)


def _in_date(one: Mapping[str, Any], now: datetime) -> bool:
    if "not_before" not in one:
        return False
    return datetime.fromisoformat(one["not_before"]) <= now <= datetime.fromisoformat(one["not_after"])
