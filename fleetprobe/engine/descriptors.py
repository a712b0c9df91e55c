"""Descriptors: how many this process may open, whether a scan can begin, how many targets they are enough for."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

_SPARE = 64
"""Kept for what is not a target's own: the loop, the resolver, files, the questions of witnesses."""
_LEAST_FREE = 21
"""Loop, resolver, the kernel's tables, and one target at a time judged as with plenty. Found by trying: with one
fewer, a name that is never answered was put down to a dead resolver, as there was nothing left to ask about it."""


class TooFewDescriptors(Exception):
    """The limit on descriptors leaves no room for a scan: a usage error. The message is one line for the user."""


def raise_limit() -> None:
    """The soft limit up to the hard one, which needs no privilege."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return
    with suppress(OSError, ValueError):  # What we have been given has to do.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def require_room(files: int) -> None:
    """Raise TooFewDescriptors unless a scan that holds so many files open can begin.

    Asked of the kernel by taking them, as descriptors that we have inherited count as well.
    """
    needed = _LEAST_FREE + files
    held: list[int] = []
    try:
        while len(held) < needed:
            held.append(os.dup(2))
    except OSError:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        raise TooFewDescriptors(
            f"{needed} free descriptors are needed and this process has {len(held)}: "
            f"its limit is {limit} in all (ulimit -n); raise it"
        ) from None
    finally:
        for descriptor in held:
            os.close(descriptor)


def affordable(asked: int) -> int:
    """As many workers as descriptors allow."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return asked
    return max(1, min(asked, (limit - _SPARE) * 3 // 4))
