"""An open connection of a scripted network: it says what its script says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fleetprobe.net.fake_path import end_of_wait, hole_before, info_in_hole, send_mss, since
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Address, Event, Fault, Received, TcpInfo
from fleetprobe.net.path import Hole
from fleetprobe.net.script import Close, Deaf, Fail, Hear, Mute, Plan, Reset, Say, Step

if TYPE_CHECKING:
    from fleetprobe.net.fake import FakeNet


@dataclass(slots=True, eq=False)
class FakeStream:
    """An open connection that follows its script. `sent`, `aborted` and `released` are there for tests to look at."""

    net: FakeNet
    address: Address
    port: int
    plan: Plan
    mss_bytes: int | None = None
    """As it was dialled with."""
    tell: Callable[[Hole], None] | None = None
    """Whom to tell of a hole."""
    secured: Handshake | None = None
    sent: bytearray = field(default_factory=bytearray)
    aborted: bool = False
    released: bool = False
    _steps: list[Step] = field(default_factory=list)
    _since_s: float = 0.0
    _heard: bytearray = field(default_factory=bytearray)
    _unacked: int = 0

    async def send(self, data: bytes, until_s: float) -> Received:
        """Succeeds while the script is not at an ending that is already due."""
        self.net.note("send", self.address.text, self.port)
        now = self.net.now()
        match self._next():
            case Reset() | Fail() as end if self._since_s + end.after_ms / 1000 <= now:
                return self._ended(end, now)
            case Deaf():
                self._unacked += 1
        self.sent += data
        self._heard += data
        return Received(data=b"", event=Event.DONE, at_s=now)

    async def receive(self, limit_bytes: int, until_s: float, hole_s: float | None = None) -> Received:
        """The next words of the script, one `Say` at a time, or how it ends; early in a hole, with `hole_s`."""
        self.net.note("receive", self.address.text, self.port)
        step = self._next()
        if hole := self._hole(step):
            return await self._lost_in(hole, until_s, hole_s)
        if isinstance(step, Hear | Mute | Deaf) or step is None:
            return await self._silence(until_s, step.late_ms if isinstance(step, Mute) else 0.0)
        at_s = max(self._since_s + step.after_ms / 1000, min(self.net.now(), until_s))
        if at_s > until_s:
            return await self._silence(until_s, 0.0)
        late_ms = step.late_ms if isinstance(step, Say) else 0.0
        await self.net.clock.reach(at_s + late_ms / 1000)
        if not isinstance(step, Say):
            return self._ended(step, at_s)
        self._since_s = at_s
        rest = step.data[limit_bytes:]
        self._steps[:1] = [Say(rest, after_ms=0.0)] if rest else []
        return Received(data=step.data[:limit_bytes], event=Event.DONE, at_s=at_s)

    def info(self) -> TcpInfo | None:
        """Plain figures of a healthy path; what a deaf peer left unacknowledged is counted."""
        if self.ended:
            return None
        healthy = TcpInfo(
            rtt_ms=self.plan.rtt_ms, rtt_var_ms=self.plan.rtt_ms / 4, total_retransmits=self._unacked,
            unacked_segments=self._unacked, sacked_segments=0, send_mss_bytes=send_mss(self.mss_bytes),
            receive_mss_bytes=1448, advertised_mss_bytes=1448, path_mtu_bytes=1500, bytes_received=0,
            data_segments_in=0, bytes_acked=0 if self._unacked else len(self.sent), out_of_order_segments=0,
        )
        return info_in_hole(healthy, self._hole(self._next()))

    @property
    def peer_alpn(self) -> str | None:
        """What the scripted handshake agreed on."""
        return self.secured.alpn if self.secured else None

    def tell_hole(self, tell: Callable[[Hole], None]) -> None:
        """Whom to tell of a hole, once in every wait."""
        self.tell = tell

    def abort(self) -> None:
        """Counted once however often it is called."""
        if not self.ended:
            self.net.note("abort", self.address.text, self.port)
            self.aborted = True

    def release(self) -> None:
        """Counted once, and only if it was not aborted before."""
        if not self.ended:
            self.net.note("release", self.address.text, self.port)
            self.released = True

    @property
    def ended(self) -> bool:
        """Whether it was given back in one way or the other."""
        return self.aborted or self.released

    def _next(self) -> Step | None:
        """The step that is due, past every `Hear` that was satisfied."""
        while self._steps and isinstance(self._steps[0], Hear):
            if not self._heard or self._steps[0].contains not in self._heard:
                return self._steps[0]
            self._heard.clear()
            self._since_s = max(self._since_s, self.net.now())
            del self._steps[0]
        return self._steps[0] if self._steps else None

    def _hole(self, step: Step | None) -> Hole | None:
        return hole_before(self.plan.large_lost, self.mss_bytes, len(self.sent), step)

    async def _lost_in(self, hole: Hole, until_s: float, hole_s: float | None) -> Received:
        started = self.net.now()
        if hole_s is not None and self.tell is not None:
            self.tell(hole)
            hole_s = None
        ended = end_of_wait(started, until_s, hole_s)
        await self.net.clock.reach(ended)
        return Received(data=b"", event=Event.SILENT, at_s=ended, hole=since(hole, started, ended))

    async def _silence(self, until_s: float, late_ms: float) -> Received:
        await self.net.clock.reach(until_s + late_ms / 1000)
        return Received(data=b"", event=Event.SILENT, at_s=until_s)

    @staticmethod
    def _ended(step: Close | Reset | Fail, at_s: float) -> Received:
        match step:
            case Close():
                return Received(data=b"", event=Event.CLOSED, at_s=at_s)
            case Reset():
                fault = Fault(Event.RESET, "ECONNRESET")
            case Fail(fault):
                pass
        return Received(data=b"", event=fault.event, fault=fault, at_s=at_s)
