"""The servers of the zoo that are ours: scripts of the lab, and asyncio's own TLS.

Run as `python -m tests.zoo.played PLAN READY_FD`; it serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from ssl import SSLContext
from typing import Any

from fleetprobe.lab.scenario import ClientCertificate, Server, Step, TlsRules, TlsVersion, Verb
from fleetprobe.lab.serve import ServerRoom, tls_context

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nzoo"


def _context(entry: Mapping[str, Any]) -> SSLContext | None:
    if entry["file"] is None:
        return None
    options = entry["options"]
    rules = TlsRules(
        version=TlsVersion(options["version"]) if "version" in options else None, ciphers=options.get("ciphers"),
        client_certificate=ClientCertificate.DEMANDED if "client_certificate" in options else None,
    )
    return tls_context(Path(entry["file"]), rules, authority=Path(entry["authority"]))


def _step(text: str) -> Step:
    verb, _, argument = text.partition(" ")
    return Step(Verb(verb), argument)


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, one answer; how the client ends is no concern of ours."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort() if writer.is_closing() else writer.close()


async def _serve(plan: Sequence[Mapping[str, Any]], ready_fd: int) -> None:
    room = ServerRoom([], [])
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, __: None)
    held = []
    for entry in plan:
        endpoint = (entry["address"], entry["port"])
        if entry["steps"] is None:
            held.append(await asyncio.start_server(_greet, *endpoint, ssl=_context(entry)))
            continue
        script = Server(addresses=endpoint[:1], port=endpoint[1], steps=tuple(map(_step, entry["steps"])))
        await room.open(script, [endpoint], _context(entry))
    os.write(ready_fd, b"ready\n")
    os.close(ready_fd)
    ended = asyncio.Event()
    loop.add_reader(0, ended.set)
    await ended.wait()


def main(argv: Sequence[str]) -> int:
    """Entry point: path of the plan and the descriptor to write `ready` to."""
    asyncio.run(_serve(json.loads(Path(argv[0]).read_text()), int(argv[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
