"""A router's word about the neighbours of a silent host: when it may be lent to it, and what it then says.

Routers limit how often they say no (Linux: about six times at once, then once a second), so that of many hosts
behind one rule only a few are told of it. What was said of a whole network may be lent to its silent addresses;
what was said of one host (3/1, 3/10, 3/12, IPv6 1/3) or of one port (3/3, 1/4) says nothing about another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layers.icmp import code_of, factor_of, meaning_of
from fleetprobe.layers.sockets import where
from fleetprobe.net.interface import Icmp
from fleetprobe.net.nearby import RouterWord
from fleetprobe.net.survey import Survey
from fleetprobe.net.witness import Reached, Walk, is_time_exceeded

_NO_ROUTE = {4: frozenset({(3, 0), (3, 6), (3, 11)}), 6: frozenset({(1, 0)})}
"""About the way to a network, and so about every port."""
_POLICY = {4: frozenset({(3, 9), (3, 13)}), 6: frozenset({(1, 1), (1, 5), (1, 6)})}
"""About what may pass. Rules name ports, so a word about one port is not lent to another."""
_ENOUGH_FOR_A_ROUTE, _ENOUGH_FOR_A_RULE = 2, 4
"""Addresses that were told. One host's word may come from a rule, or a route, for that host alone; and a limit
explains a silence only where about as many words were heard as it lets through (Linux: two about a missing route,
some six about a prohibition)."""
_FRESH_S = 10.0
"""Linux may speak again to one asker after six seconds of rest: a limit explains no silence long after."""
_MET = (Reached.OPEN, Reached.RST, Reached.PORT_UNREACHABLE)
_MOST_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Lent:
    """A router's word about others of the prefix.

    | field | type | meaning |
    |---|---|---|
    | icmp_lent_by | text | the router that said it |
    | icmp_lent_type, icmp_lent_code | int, int | what it said |
    | icmp_lent_for, icmp_lent_port | text, int | of whom it was said last |
    | icmp_lent_age_s | number | how long before the end of the survey |
    """

    icmp: Icmp
    address: str
    port: int
    age_s: float

    @property
    def code(self) -> str:
        """What the neighbour's verdict says."""
        return code_of(self.icmp)

    @property
    def factor(self) -> str:
        """The same as the neighbour's, so that they share a cause."""
        return factor_of(self.icmp, self.address)

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        return {
            "icmp_lent_by": self.icmp.sender, "icmp_lent_type": self.icmp.type, "icmp_lent_code": self.icmp.code,
            "icmp_lent_for": self.address, "icmp_lent_port": self.port, "icmp_lent_age_s": round(self.age_s, 3),
        }

    def summary(self, address: str, port: int) -> str:
        """One sentence about the silent one; the guess at the reason is left out where there is no room."""
        said = f"ICMP {self.icmp.type}/{self.icmp.code} ({meaning_of(self.icmp)})"
        plain = f"{where(address, port)} is silent; neighbours got {said} from {self.icmp.sender}"
        whole = f"{plain}, which seems to limit them"
        return whole if len(whole) <= _MOST_CHARACTERS else plain


def lent(survey: Survey) -> Lent | None:
    """What may be lent to the silent address; None when there is nothing, or anything speaks against it."""
    words = _words(survey)
    if not words:
        return None
    last = min(words, key=lambda word: word.age_s)
    told = {address for word in words for address in word.addresses}
    own = survey.address.text
    # Of this very address it was said: then one word is enough.
    enough = own in told or len(told) >= _enough(survey, last.icmp)
    if last.age_s > _FRESH_S or not enough or _contradicted(survey, last.icmp):
        return None
    others = [address for address in last.addresses if address != own]
    return Lent(last.icmp, others[-1] if others else own, last.port, last.age_s)


def _enough(survey: Survey, icmp: Icmp) -> int:
    return _ENOUGH_FOR_A_ROUTE if _is(_NO_ROUTE, icmp, survey) else _ENOUGH_FOR_A_RULE


def _words(survey: Survey) -> Sequence[RouterWord]:
    """The words to rely on, all of one router and one meaning; none where routers, or meanings, disagree."""
    said, port = survey.nearby.words, survey.port
    here = [word for word in said if word.port == port]
    distinct = {word.icmp for word in here or said}
    if len(distinct) != 1:
        return ()
    (icmp,) = distinct
    if _is(_NO_ROUTE, icmp, survey):
        return [word for word in said if word.icmp == icmp]
    return here if _is(_POLICY, icmp, survey) else ()


def _contradicted(survey: Survey, icmp: Icmp) -> bool:
    """Whether some packet into the prefix, which the word would have stopped as well, came through."""
    every_port = _is(_NO_ROUTE, icmp, survey)
    if survey.nearby.ports and (every_port or survey.nearby.answers(survey.port)):
        return True
    walk = survey.walk
    if walk is None or not (every_port or walk.port == survey.port):
        return False
    return walk.reached_by in _MET or _passes(walk, icmp.sender)


def _passes(walk: Walk, router: str) -> bool:
    """Whether a router farther away than this one has answered: SYNs to the port get past it."""
    senders = [hop.sender for hop in walk.hops if is_time_exceeded(walk.address, hop.icmp)]
    return router in senders and any(sender != router for sender in senders[senders.index(router) :])


def _is(kinds: Mapping[int, frozenset[tuple[int, int]]], icmp: Icmp, survey: Survey) -> bool:
    return (icmp.type, icmp.code) in kinds[survey.address.family]
