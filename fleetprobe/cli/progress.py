"""How far a scan has come, on standard error: one line that rewrites itself, a few times a second."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final, TextIO

from fleetprobe.model.safe import printable

_EVERY_S: Final = 0.2
_WINDOW: Final = 25
"""The rate is that of the last 25 ticks: five seconds."""
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Counts rows in the scan's own thread, which costs nothing, and draws from another."""

    def __init__(self, total: int | None, file: TextIO | None = None, *, asking: str | None = None) -> None:
        """`total` is None where it is not known; `asking` names the one target there is in place of counts."""
        self._file = file or sys.stderr
        self._total = total
        self._asking = asking
        self._done = 0
        self._failed = 0
        self._started_s = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque(maxlen=_WINDOW)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw_until_over, name="fleetprobe-progress", daemon=True)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row."""
        if row["kind"] == "result":
            self._done += 1
            self._failed += row["state"] == "fail"

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._put(_CLEAR)

    def _draw_until_over(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._put(_CLEAR + self.line(time.monotonic()))

    def _put(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except OSError:
            self._over.set()  # the terminal is gone; the scan goes on

    def line(self, now_s: float) -> str:
        """The line as it stands: done, total, rate, time left, failures. Shorter than 80 columns."""
        if self._asking is not None:
            return f"asking {printable(self._asking, 50)}, {_clock(now_s - self._started_s)}"
        self._seen.append((now_s, self._done))
        then_s, before = self._seen[0]
        if len(self._seen) == 1:
            then_s, before = self._started_s, 0
        rate = (self._done - before) / (now_s - then_s) if now_s > then_s else 0.0
        if self._total is None:
            done = f"{self._done:,} done"
        else:
            share = 100 * self._done // self._total if self._total else 100
            done = f"{self._done:,} of {self._total:,} ({share} %)"
        left = ""
        if self._total is not None and rate > 0.0:
            left = f", {_clock((self._total - self._done) / rate)} left"
        return f"{done}, {rate:,.0f}/s{left}, {self._failed:,} failed, {_clock(now_s - self._started_s)} gone"


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"
