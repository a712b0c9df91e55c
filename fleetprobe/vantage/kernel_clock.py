"""The clocks: what adjtimex(2) tells any user, and whether the wall clock moves against the monotonic one."""

from __future__ import annotations

import ctypes
import time
from datetime import UTC, datetime

from fleetprobe.vantage.facts import Clock

_STA_UNSYNC = 0x0040
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """struct timex of sys/timex.h as the C library of this machine lays it out."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        # The rest is the kernel's to fill in and not ours to read; room for any layout.
        ("rest", ctypes.c_char * 512),
    )


class Watch:
    """Started before a look around, and read after it."""

    def __init__(self) -> None:
        self._ahead_s = time.time() - time.monotonic()

    def read(self) -> Clock:
        """The clocks now, and how far they drifted apart since the start."""
        synchronised, most_wrong_ms = _discipline()
        return Clock(
            year=datetime.now(UTC).year,
            synchronised=synchronised,
            most_wrong_ms=most_wrong_ms,
            stepped_ms=round((time.time() - time.monotonic() - self._ahead_s) * 1000.0, 3),
            monotonic_resolution_ms=time.get_clock_info("monotonic").resolution * 1000.0,
        )


def _discipline() -> tuple[bool | None, float | None]:
    """Whether somebody keeps the clock right, and the kernel's bound of its error in milliseconds."""
    timex = _Timex()
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None, None
    # With no mode set it only reads. A seccomp filter may forbid even that, as container engines' do.
    state = adjtimex(ctypes.byref(timex))
    if state < 0:
        return None, None
    synchronised = state != _TIME_ERROR and not timex.status & _STA_UNSYNC
    return synchronised, timex.maxerror / 1000.0 if synchronised else None
