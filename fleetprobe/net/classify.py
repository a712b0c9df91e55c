"""Errno to event, by table: the one place where the operating system's words become ours."""

from __future__ import annotations

import errno

from fleetprobe.net.interface import Event, Fault, Icmp

_EVENTS = {
    errno.ECONNRESET: Event.RESET,
    errno.EPIPE: Event.RESET,
    errno.ECONNABORTED: Event.RESET,
}


def fault_of(number: int, icmp: Icmp | None = None) -> Fault:
    """The fault that an errno stands for. Unknown numbers keep their value in the detail."""
    name = errno.errorcode.get(number)
    return Fault(
        event=_EVENTS.get(number, Event.ERROR),
        errno_name=name or "UNKNOWN",
        icmp=icmp,
        detail="" if name else f"errno {number}",
    )


def fault_of_error(error: OSError) -> Fault:
    """The fault that an OSError stands for; causes are unwrapped, messages are never read."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return fault_of(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return Fault(event=Event.ERROR, errno_name="UNKNOWN", detail=type(error).__name__)
