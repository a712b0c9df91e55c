"""The other end of the pipes of witness_world.py: where a test gives its orders to the routed world."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleetprobe.net.interface import Address

UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child")
ROOT = Path(__file__).parents[2]

Question = tuple[str, tuple[Any, ...], dict[str, Any]]


class World:
    """Namespaces on a pipe: shell orders to each of them, and verbs asked from inside cl."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def order(self, *words: object) -> Any:
        assert self._process.stdin is not None
        pickle.dump(words, self._process.stdin)
        self._process.stdin.flush()
        told = self.listen()
        if isinstance(told, Exception):
            raise told
        return told

    def listen(self) -> Any:
        assert self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def ask(self, verb: str, *words: object, loop: str = "uvloop", **named: object) -> Any:
        return self.order("ask", loop, {"it": (verb, words, named)})["it"][0]


def at(family: int, last: int) -> Address:
    """One of the addresses of sv."""
    return Address(f"203.0.113.{last}" if family == 4 else f"2001:db8:3::{last}", family)


@contextmanager
def raised(state: Path, errors: Path) -> Iterator[World]:
    """The world, as long as it is needed. Raises FileNotFoundError or EOFError where there can be none."""
    script = Path(__file__).with_name("witness_world.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    with errors.open("wb") as log, subprocess.Popen(
        [*UNSHARE, sys.executable, str(script), str(state)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment,
    ) as process:
        there = World(process)
        there.listen()
        for family in (4, 6):  # a volley into a cold neighbour table overflows its queue
            there.ask("ping", at(family, 10), 1.0)
        yield there
        assert process.stdin is not None
        process.stdin.close()
