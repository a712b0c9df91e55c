"""Sockets in another network namespace: a socket belongs for life to the namespace in which it was opened."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# linux/sched.h
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace: Path) -> Iterator[None]:
    """Move this thread into a network namespace and back (setns(2)); do not await in between.

    Raises OSError where that is not allowed: it takes CAP_SYS_ADMIN, as root of the lab has.
    """
    with open("/proc/thread-self/ns/net", "rb") as own, open(namespace, "rb") as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    # Python has os.setns from 3.12 on.
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
