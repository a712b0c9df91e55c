"""One scripted server's talk over one accepted connection, TLS and rude endings included."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Sequence
from typing import assert_never

from fleetprobe.lab.scenario import CUT_SHORT, Step, Verb

MAX_CONVERSATION_S = 120.0
_CHUNK_BYTES = 64 * 1024
_ONCE_BYTES = 1400
"""Less than a full segment, so that a read which comes late finds no more than one that comes at once."""
_RECORD_HEADER_BYTES = 5
_MAX_HEAD_BYTES = 64 * 1024
_DRAIN_S = 5.0
# l_onoff = 1, l_linger = 0: close() discards what is queued and sends a RST (socket(7)).
_LINGER_RESET = struct.pack("ii", 1, 0)


class _PeerGoneError(Exception):
    """The peer closed or reset while the script wanted to hear more."""


class _Wire:
    """Bytes over a non-blocking socket, in the clear until `secure` has been called."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        self._sock = sock
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None

    async def send_raw(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def receive_raw(self) -> bytes:
        data = await self._loop.sock_recv(self._sock, _CHUNK_BYTES)
        if not data:
            raise _PeerGoneError
        return data

    async def take_raw(self, count: int) -> None:
        while count:
            data = await self._loop.sock_recv(self._sock, count)
            if not data:
                raise _PeerGoneError
            count -= len(data)

    async def send(self, data: bytes) -> None:
        if self._tls is None:
            await self.send_raw(data)
            return
        for start in range(0, len(data), _CHUNK_BYTES):
            self._tls.write(data[start : start + _CHUNK_BYTES])
            await self.send_raw(self._outgoing.read())

    async def receive(self) -> bytes:
        if self._tls is None:
            return await self.receive_raw()
        while True:
            try:
                data = self._tls.read(_CHUNK_BYTES)
            except ssl.SSLWantReadError:
                self._incoming.write(await self.receive_raw())
            except ssl.SSLZeroReturnError:
                raise _PeerGoneError from None
            else:
                if not data:
                    raise _PeerGoneError
                return data

    async def secure(self, hello: bytes = b"") -> None:
        """Complete a server-side handshake; later sends and receives go through it. `hello` has been read already."""
        tls = self._new_tls()
        self._incoming.write(hello)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send_raw(self._outgoing.read())
                self._incoming.write(await self.receive_raw())
            except ssl.SSLError:
                # The alert that says why is already waiting to be sent.
                await self.send_raw(self._outgoing.read())
                raise
            else:
                break
        await self.send_raw(self._outgoing.read())
        self._tls = tls

    async def secure_once(self) -> bool:
        """As `secure`, if one read brings the whole ClientHello (RFC 8446 §5.1); else nothing has been said."""
        hello = await self._loop.sock_recv(self._sock, _ONCE_BYTES)
        whole = len(hello) >= _RECORD_HEADER_BYTES + _record_bytes(hello)
        if whole:
            await self.secure(hello)
        return whole

    async def secure_if(self, text: bytes, *, contained: bool) -> bool:
        """As `secure`, if the ClientHello contains the text, or does not; else nothing has been said."""
        hello = b""
        while len(hello) < _RECORD_HEADER_BYTES + _record_bytes(hello):
            hello += await self.receive_raw()
        liked = (text in hello) is contained
        if liked:
            await self.secure(hello)
        return liked

    async def first_flight(self) -> bytes:
        """Read a ClientHello and return the whole of the genuine answer, unsent."""
        tls = self._new_tls()
        while not self._outgoing.pending:
            self._incoming.write(await self.receive_raw())
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
        return self._outgoing.read()

    async def farewell(self) -> None:
        """Send close_notify without waiting for the peer's."""
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.unwrap()
            await self.send_raw(self._outgoing.read())

    async def drain(self, seconds: float) -> None:
        """Read and discard until the peer closes or the time is over."""
        with contextlib.suppress(TimeoutError, _PeerGoneError):
            async with asyncio.timeout(seconds):
                while True:
                    await self.receive_raw()

    def _new_tls(self) -> ssl.SSLObject:
        if self._context is None:
            raise ValueError("a script that speaks TLS needs a certificate")
        return self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)


async def converse(sock: socket.socket, steps: Sequence[Step], context: ssl.SSLContext | None) -> None:
    """Play the steps over an accepted non-blocking socket and close it; the peer's doings are no error."""
    wire = _Wire(sock, context)
    try:
        async with asyncio.timeout(MAX_CONVERSATION_S):
            left = deque(steps)
            while left:
                step = left.popleft()
                if step.verb is Verb.RESET:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
                    return
                if step.verb is Verb.CLOSE:
                    break
                if step.verb not in (Verb.ONCE, Verb.NEEDS, Verb.MINDS):
                    await _act(wire, step)
                elif not await _likes_the_hello(wire, step):
                    left = deque(CUT_SHORT[step.argument.partition(" ")[0]])
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            await wire.drain(_DRAIN_S)
    except (_PeerGoneError, OSError, TimeoutError):
        pass  # ssl.SSLError is an OSError: a client may end a handshake as it likes.
    finally:
        sock.close()


async def _likes_the_hello(wire: _Wire, step: Step) -> bool:
    if step.verb is Verb.ONCE:
        return await wire.secure_once()
    text = step.argument.partition(" ")[2]
    sought = bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()
    return await wire.secure_if(sought, contained=step.verb is Verb.NEEDS)


def _record_bytes(begun: bytes) -> int:
    """What the header of a record says that follows it; 0 while it is not there."""
    return int.from_bytes(begun[_RECORD_HEADER_BYTES - 2 : _RECORD_HEADER_BYTES], "big")


async def _act(wire: _Wire, step: Step) -> None:
    match step.verb:
        case Verb.HEAR:
            await wire.receive()
        case Verb.TAKE:
            await wire.take_raw(int(step.argument))
        case Verb.REQUEST:
            await _hear_head(wire)
        case Verb.TLS:
            await wire.secure()
        case Verb.FLIGHT:
            await wire.send_raw((await wire.first_flight())[: int(step.argument)])
        case Verb.SAY:
            await wire.send(step.argument.encode())
        case Verb.HEX:
            await wire.send_raw(bytes.fromhex(step.argument))
        case Verb.FILL:
            await wire.send(b"x" * int(step.argument))
        case Verb.ANSWER:
            await wire.send(_whole_answer(int(step.argument)))
        case Verb.ECHO:
            while True:
                await wire.send(await wire.receive())
        case Verb.WAIT:
            await asyncio.sleep(float(step.argument))
        case Verb.SILENCE:
            await wire.drain(MAX_CONVERSATION_S)
        case Verb.FAREWELL:
            await wire.farewell()
        case Verb.ONCE | Verb.NEEDS | Verb.MINDS | Verb.CLOSE | Verb.RESET:
            raise ValueError(f"`{step.verb}` ends a script, or turns it, and is played by the caller")
        case Verb.ISSUER:
            raise ValueError("the certificate is written out before the script is played")
        case _:
            assert_never(step.verb)


def _whole_answer(body_bytes: int) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {body_bytes}\r\nConnection: close\r\n\r\n"
    return head.encode() + b"x" * body_bytes


async def _hear_head(wire: _Wire) -> None:
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += await wire.receive()
        if len(heard) > _MAX_HEAD_BYTES:
            raise _PeerGoneError
