"""What a silent port means: the witness that asks everything around it, and the judge of what it heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layer import Ground, found, passed
from fleetprobe.layers import icmp
from fleetprobe.layers.lent import Lent, lent
from fleetprobe.layers.sockets import OWN_ERRNO, attempt_of, attempt_of_ping, attempt_of_poke, own_errno, where
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import Dial, Event, Icmp, Net, Route
from fleetprobe.net.survey import Survey
from fleetprobe.net.witness import NeighbourState, Poked, Reached, host_answer, unreachable_word

_EXPLAINS = frozenset({"tcp.timeout"})
_SILENCES = 2
"""The survey is asked only after two attempts from two source ports stayed silent."""
_FULL = 0.95
_MET = (Reached.OPEN, Reached.RST, Reached.PORT_UNREACHABLE)
_UNCONFIRMED = (NeighbourState.PERMANENT, NeighbourState.STALE, NeighbourState.DELAY, NeighbourState.PROBE)


@dataclass(frozen=True, slots=True)
class SilenceFacts:
    """What was asked around a silent port.

    | field | type | meaning |
    |---|---|---|
    | fresh | list | what more attempts from fresh source ports met: connected, silent |
    | held | text | how a connection from before is doing: lives, dead |
    | other_ports | mapping | what other ports of the address did: connected, refused, silent |
    | heard_port | int | a port of the address that answered earlier in the run |
    | udp | text | what a datagram to a closed port brought back |
    | ping | text | reply, silent, or not permitted |
    | hops | list | routers that answered, by hop limit; `*` for silence |
    | last_hop | text | the farthest router that answered |
    | walked | text | the address the path was walked to; one walk serves a whole /24 or /48 |
    | gateway | text | the next hop |
    | gateway_state | text | what the kernel knows of it |
    | gateway_alive | bool | whether it answered anything, or anything behind it did in this run |
    | conntrack_share | number | how full our own connection table is |
    | icmp_nearby | list | what routers said in this run of addresses of the same /24 or /48 |
    | answered_nearby | list | ports at which addresses of it have answered |
    | icmp_lent_* | | the one of these words that explains this silence; see `layers.lent.Lent` |
    """

    survey: Survey
    route: Route

    @property
    def gateway_alive(self) -> bool:
        """Whether the next hop, or anything behind it, has answered."""
        survey = self.survey
        spoke = survey.gateway_poke is not None and survey.gateway_poke.host_alive
        replied = survey.gateway_ping is not None and survey.gateway_ping.replied
        return survey.gateway_heard or spoke or replied or self.last_hop is not None

    @property
    def last_hop(self) -> tuple[int, str] | None:
        """Distance and address of the farthest router that answered."""
        hop = self.survey.walk.last_answering if self.survey.walk else None
        return (hop.ttl, hop.sender) if hop is not None and hop.sender is not None else None

    @property
    def alive_by(self) -> str | None:
        """The sign of life of the host, in words; None when there is none."""
        survey = self.survey
        for dial in survey.knocks:
            if host_answer(dial):
                return f"port {dial.port} {'answers' if dial.fault is None else 'is refused by it'}"
        if survey.heard_port is not None:
            return f"port {survey.heard_port} answered in this run"
        walk = survey.walk
        if walk is not None and walk.address == survey.address and walk.reached_by in (Reached.OPEN, Reached.RST):
            return f"port {walk.port} answered a moment ago"
        if survey.poke.host_alive:
            return "it answers UDP with port unreachable"
        return None

    @property
    def told_late(self) -> Icmp | None:
        """What somebody said of the very port to a further attempt of this survey."""
        said = [unreachable_word(dial) for dial in self.survey.dials if dial.port == self.survey.port]
        return next((word for word in reversed(said) if word is not None), None)

    @property
    def borrowed(self) -> Lent | None:
        """What was said of the neighbours, where neither the host nor anybody about it has spoken."""
        survey = self.survey
        answered = any(host_answer(dial) for dial in survey.fresh) or survey.ping.replied
        spoke = answered or self.alive_by is not None or self.told_late is not None
        return None if spoke else lent(survey)

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        survey = self.survey
        last = self.last_hop
        facts: dict[str, Any] = {
            "other_ports": {str(dial.port): _word(dial) for dial in survey.knocks},
            "fresh": [_word(dial) for dial in survey.fresh],
            "held": None if survey.held is None else "lives" if survey.held.lives else "dead",
            "heard_port": survey.heard_port,
            "udp": str(survey.poke.outcome),
            "ping": _ping_word(survey),
            "hops": [hop.sender or "*" for hop in survey.walk.hops] if survey.walk else None,
            "last_hop": f"{last[1]} at hop {last[0]}" if last else None,
            "walked": survey.walked,
            "gateway": self.route.gateway,
            "gateway_state": str(survey.neighbour.state) if survey.neighbour and self.route.gateway else None,
            "gateway_alive": self.gateway_alive if self.route.gateway else None,
            "conntrack_share": survey.conntrack_share,
            "icmp_nearby": [
                f"{_icmp_word(word.icmp)} about {where(word.addresses[-1], word.port)}" for word in survey.nearby.words
            ] or None,
            "answered_nearby": list(survey.nearby.ports) or None,
            **(self.borrowed.record() if self.borrowed else {}),
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """A witness fills no column: those belong to the climb."""
        return {}


async def probe(ground: Ground, net: Net) -> SilenceFacts:
    """Ask everything at once."""
    assert ground.address is not None
    until_s = ground.until(ground.policy.survey_s, net.now())
    survey = await net.survey(ground.address, ground.target.port, until_s)
    ground.attempts += [attempt_of(dial, "survey") for dial in survey.near_dials]
    if (path := survey.own_walk) is not None:
        # What ended at a router could not have become a connection; what went beyond the last one could.
        last = path.last_answering.ttl if path.last_answering else 0
        ground.attempts += [attempt_of(dial, "walk") for dial in path.dials[:last]]
        ground.attempts += [attempt_of(dial, "survey") for dial in path.dials[last:]]
    ground.attempts += [attempt_of_poke(poke, "survey") for poke in survey.pokes]
    ground.attempts += [attempt_of_ping(ping, "survey") for ping in survey.pings]
    return SilenceFacts(survey, net.route(ground.address))


def judge(facts: SilenceFacts, policy: Policy) -> Sequence[Finding]:
    """The port itself first, then any sign of life, then ourselves, the next hop, the path, and the neighbours."""
    return (
        _port_answers(facts) or _told_late(facts) or _unasked(facts) or _new_flows(facts) or _alive(facts)
        or _ours(facts) or _next_hop(facts) or _kept_back(facts) or _loop(facts) or _pinged(facts)
        or _lent(facts) or _nothing(facts)
    )


def _port_answers(facts: SilenceFacts) -> Sequence[Finding]:
    """What was tried was silent (once only, where the time to connect is short) and one more is answered."""
    survey = facts.survey
    walk = survey.walk
    here = walk is not None and (walk.address, walk.port) == (survey.address, survey.port)
    reached = here and walk is not None and walk.reached_by in (Reached.OPEN, Reached.RST)
    if not reached and all(dial.fault is not None for dial in survey.fresh):
        return ()
    summary = f"{_place(facts)} was silent and answers another source port: loss, or one dead path of several"
    return (
        found(
            "tcp.flow_dependent", summary, facts.record(),
            confidence=Confidence.INFERRED, silences=_SILENCES, supersedes=_EXPLAINS,
            could_also_be=("tcp.syn_retransmit",),
        ),
    )


def _told_late(facts: SilenceFacts) -> Sequence[Finding]:
    """Two attempts were silent, and of one more somebody says why not: routers limit how often they do."""
    survey = facts.survey
    if facts.told_late is None:
        return ()
    return (icmp.answered(facts.told_late, survey.address.text, survey.port, facts.record(), _EXPLAINS),)


def _unasked(facts: SilenceFacts) -> Sequence[Finding]:
    """Our own limits kept every question from leaving: nothing was learnt about the host."""
    survey = facts.survey
    kept = [own for dial in survey.knocks if (own := own_errno(dial.fault)) is not None]
    if len(kept) < len(survey.knocks) or survey.poke.outcome not in (Poked.LOCAL, Poked.DENIED):
        return ()
    code = OWN_ERRNO.get(kept[0], "local.overload") if kept else "local.overload"
    summary = f"our own limits ({kept[0] if kept else 'unknown'}) kept us from asking about {_place(facts)}"
    return (found(code, summary, facts.record(), supersedes=_EXPLAINS),)


def _new_flows(facts: SilenceFacts) -> Sequence[Finding]:
    """A/B: the old connection lives, a new one to the very same port dies."""
    held = facts.survey.held
    if held is None or not held.lives:
        return ()
    again = [dial for dial in (*facts.survey.knocks, *facts.survey.fresh) if dial.port == held.port]
    if not again or not all(_is_silent(dial) for dial in again):
        return ()
    summary = (
        f"new connections to {facts.survey.address.text} die, one opened {held.age_s:.0f} s ago "
        f"to port {held.port} lives on"
    )
    return (
        passed("ip", facts.record()),
        found(
            "tcp.new_flows_dropped", summary, facts.record(),
            confidence=Confidence.PROVEN, supersedes=_EXPLAINS,
        ),
    )


def _alive(facts: SilenceFacts) -> Sequence[Finding]:
    sign = facts.alive_by
    if sign is None:
        return ()
    last = facts.last_hop
    seen = f"; the path is seen to hop {last[0]} ({last[1]})" if last else ""
    summary = f"{_place(facts)} is silent, but the host is alive: {sign}{seen}"
    return (
        passed("ip", facts.record()),
        found(
            "tcp.filtered", summary, facts.record(),
            confidence=Confidence.INFERRED, silences=_SILENCES, supersedes=_EXPLAINS,
        ),
    )


def _ours(facts: SilenceFacts) -> Sequence[Finding]:
    survey, place = facts.survey, _place(facts)
    pinged = survey.ping.fault is not None and survey.ping.fault.errno_name == "EPERM"
    if survey.poke.outcome is Poked.DENIED or (pinged and survey.poke.outcome is Poked.SILENT):
        summary = f"our own firewall refuses to send to {place}: UDP or ping to it fails with EPERM"
        return (found("local.send_denied", summary, facts.record(), supersedes=_EXPLAINS),)
    if survey.conntrack_share is not None and survey.conntrack_share >= _FULL:
        share = f"{survey.conntrack_share:.0%}"
        summary = f"our own connection table is {share} full, so the silence of {place} says nothing"
        return (found("local.conntrack_full", summary, facts.record(), supersedes=_EXPLAINS),)
    return ()


def _next_hop(facts: SilenceFacts) -> Sequence[Finding]:
    """The kernel could not, or cannot be sure to, hand packets to the next hop."""
    neighbour, gateway = facts.survey.neighbour, facts.route.gateway
    state = neighbour.state if neighbour is not None else None
    unresolved = state in (NeighbourState.INCOMPLETE, NeighbourState.FAILED)
    if gateway is None:
        if not unresolved:
            return ()
        summary = f"{facts.survey.address.text} is on our own link and did not answer ARP/ND"
        return (found("link.neighbour_unresolved", summary, facts.record(), supersedes=_EXPLAINS),)
    factor = f"gateway {gateway}"
    if unresolved:
        summary = f"next hop {gateway} did not answer ARP/ND, so {_place(facts)} was never reached"
        return (found("vantage.gateway_unreachable", summary, facts.record(), supersedes=_EXPLAINS, factor=factor),)
    if facts.gateway_alive or state not in _UNCONFIRMED:
        return ()
    summary = f"next hop {gateway} is {state} here and nothing comes back through it"
    return (
        found(
            "vantage.gateway_unreachable", summary, facts.record(),
            confidence=Confidence.INFERRED, silences=_SILENCES, supersedes=_EXPLAINS, factor=factor,
            could_also_be=("ip.path_dies",),
        ),
    )


def _kept_back(facts: SilenceFacts) -> Sequence[Finding]:
    """Fewer packets left our interface than we had SYNs: a rule of our own drops them without a word."""
    survey = facts.survey
    if not survey.kept_back:
        return ()
    kept = f"{survey.left} packets left, {len(survey.dials)} were sent"
    summary = f"our own machine keeps SYNs to {_place(facts)} back: {kept}"
    return (found("local.send_denied", summary, facts.record(), supersedes=_EXPLAINS),)


def _loop(facts: SilenceFacts) -> Sequence[Finding]:
    walk, survey = facts.survey.walk, facts.survey
    if walk is None or not walk.loop:
        return ()
    own = survey.walked == survey.address.text
    summary = f"packets to {survey.walked} circle between {' and '.join(walk.loop[:3])}"
    return (
        found(
            "ip.routing_loop", summary, facts.record(),
            confidence=Confidence.OBSERVED if own else Confidence.INFERRED, supersedes=_EXPLAINS,
        ),
    )


def _lent(facts: SilenceFacts) -> Sequence[Finding]:
    """What a router said of the neighbours explains the silence; what it would be without stays possible."""
    survey, word = facts.survey, facts.borrowed
    if word is None:
        return ()
    *proven, without = _nothing(facts)
    assert without.code is not None
    finding = found(
        word.code, word.summary(survey.address.text, survey.port), facts.record(),
        confidence=Confidence.INFERRED, silences=_SILENCES, supersedes=_EXPLAINS, factor=word.factor,
        could_also_be=(without.code, "tcp.timeout"),
    )
    return (*proven, finding)


def _nothing(facts: SilenceFacts) -> Sequence[Finding]:
    """No sign of life at all: where does silence begin?"""
    last, gateway = facts.last_hop, facts.route.gateway
    if last is None and gateway is not None and facts.gateway_alive:
        last = (1, gateway)
    if last is None or _sibling_reached(facts.survey):
        summary = f"{facts.survey.address.text} gave no answer of any kind: ports, UDP, ping"
        code, factor = "ip.host_silent", None
    else:
        text, walked = facts.survey.address.text, facts.survey.walked
        # A walk to somebody else of the prefix saw the routers towards all of it, as far as one can tell.
        whose = "" if walked in (None, text) else f"the {'/48' if ':' in text else '/24'} of "
        summary = f"nothing answers behind {last[1]} (hop {last[0]}) on the way to {whose}{text}"
        code, factor = "ip.path_dies", f"router {last[1]}"
    finding = found(
        code, summary, facts.record(),
        confidence=Confidence.INFERRED, silences=_SILENCES, supersedes=_EXPLAINS, factor=factor,
    )
    return (passed("link", facts.record()), finding) if last is not None else (finding,)


def _pinged(facts: SilenceFacts) -> Sequence[Finding]:
    """Ping alone never decides: boxes answer it in the name of hosts that are gone."""
    if not facts.survey.ping.replied:
        return ()
    summary = f"{_place(facts)} is silent; its address answers ping and nothing else, which settles nothing"
    return (
        found(
            "tcp.timeout", summary, facts.record(),
            confidence=Confidence.INFERRED, silences=_SILENCES, supersedes=_EXPLAINS,
        ),
    )


def _sibling_reached(survey: Survey) -> bool:
    """The walk went to another address of the prefix and met it: the routers do their part."""
    walk = survey.walk
    return walk is not None and survey.walked != survey.address.text and walk.reached_by in _MET


def _is_silent(dial: Dial) -> bool:
    return dial.fault is not None and dial.fault.event is Event.SILENT


def _place(facts: SilenceFacts) -> str:
    return where(facts.survey.address.text, facts.survey.port)


def _word(dial: Dial) -> str:
    if dial.fault is None:
        return "connected"
    if dial.fault.icmp is not None:
        return _icmp_word(dial.fault.icmp)
    return dial.fault.errno_name or str(dial.fault.event)


def _icmp_word(told: Icmp) -> str:
    return f"ICMP {told.type}/{told.code} from {told.sender}"


def _ping_word(survey: Survey) -> str:
    if not survey.ping.permitted:
        return "not permitted"
    return "reply" if survey.ping.replied else "silent"


EMITS = frozenset({
    "local.send_denied", "local.conntrack_full", "local.fd_limit", "local.ports_exhausted", "local.overload",
    "link.neighbour_unresolved", "vantage.gateway_unreachable", "ip.routing_loop", "ip.path_dies", "ip.host_silent",
    "ip.net_unreachable", "ip.host_unreachable", "ip.admin_prohibited", "tcp.rejected",
    "tcp.filtered", "tcp.new_flows_dropped", "tcp.flow_dependent", "tcp.timeout",
})
