"""The lab's name server answers as the entries say, and as RFC 1035 and RFC 2308 want it."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.lab.nameserver import answer, reply
from fleetprobe.lab.scenario import DnsEntry

ENTRIES = {
    entry.name: entry
    for entry in (
        DnsEntry(name="both.lab.test", addresses=("203.0.113.9", "2001:db8:3::9")),
        DnsEntry(name="empty.lab.test"),
        DnsEntry(name="fails.lab.test", rcode="SERVFAIL"),
        DnsEntry(name="quiet.lab.test", silent=True),
        DnsEntry(name="half.lab.test", addresses=("203.0.113.9",), ignores="AAAA"),
        DnsEntry(name="late.lab.test", addresses=("203.0.113.9",), delay_s=1.5),
        DnsEntry(name="alias.lab.test", cname="late.lab.test"),
        DnsEntry(name="round.lab.test", cname="about.lab.test"),
        DnsEntry(name="about.lab.test", cname="round.lab.test"),
    )
}


def ask(name: str, kind: str = "A") -> tuple[dns.message.Message, float]:
    found = answer(dns.message.make_query(name, kind), ENTRIES)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "answers", "authority"),
    [
        ("both.lab.test", "A", "NOERROR", 1, 0),
        ("both.lab.test", "AAAA", "NOERROR", 1, 0),
        ("BOTH.Lab.Test.", "A", "NOERROR", 1, 0),
        ("both.lab.test", "MX", "NOERROR", 0, 1),
        ("empty.lab.test", "A", "NOERROR", 0, 1),
        ("gone.lab.test", "A", "NXDOMAIN", 0, 1),
        ("fails.lab.test", "A", "SERVFAIL", 0, 0),
        ("round.lab.test", "A", "NOERROR", 2, 1),
    ],
)
def test_an_answer_has_the_right_code_and_sections(
    name: str, kind: str, rcode: str, answers: int, authority: int
) -> None:
    message, _ = ask(name, kind)
    assert dns.rcode.to_text(message.rcode()) == rcode
    assert (len(message.answer), len(message.authority)) == (answers, authority)


@pytest.mark.parametrize(("kind", "answered"), [("A", True), ("MX", True), ("AAAA", False)])
def test_a_name_that_ignores_one_type_answers_the_others(kind: str, answered: bool) -> None:
    found = answer(dns.message.make_query("half.lab.test", kind), ENTRIES)
    assert (found is not None) is answered


def test_a_truncated_name_is_answered_whole_by_tcp_only() -> None:
    query = dns.message.make_query("large.lab.test", "A")
    entries = {"large.lab.test": DnsEntry(name="large.lab.test", addresses=("203.0.113.9",), truncated=True)}
    replies = [reply(query.to_wire(), entries, stream=stream) for stream in (False, True)]
    short, whole = (dns.message.from_wire(found[0]) for found in replies if found)
    assert (bool(short.flags & dns.flags.TC), len(short.answer)) == (True, 0)
    assert (bool(whole.flags & dns.flags.TC), len(whole.answer)) == (False, 1)


def test_a_silent_name_has_no_answer() -> None:
    assert answer(dns.message.make_query("quiet.lab.test", "A"), ENTRIES) is None


def test_an_alias_is_as_slow_as_what_it_points_at() -> None:
    message, delay_s = ask("alias.lab.test")
    assert delay_s == 1.5
    assert [rrset.rdtype for rrset in message.answer] == [dns.rdatatype.CNAME, dns.rdatatype.A]


@given(
    st.lists(st.sampled_from(sorted(ENTRIES)), min_size=1, max_size=30),
    st.sampled_from(["A", "AAAA", "TXT"]),
)
def test_any_web_of_aliases_is_answered_and_ends(names: list[str], kind: str) -> None:
    web = {a: DnsEntry(name=a, cname=b) for a, b in zip(names, [*names[1:], names[0]], strict=True)}
    found = answer(dns.message.make_query(names[0], kind), web)
    assert found is not None
    assert 1 <= len(found[0].answer) <= 8
    assert found[0].to_wire()
