"""The ladder of packet sizes as `check` draws it: the boundary, both names of a size, and records that lie."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from fleetprobe.cli.flags import Color
from fleetprobe.cli.ladder_view import ladder_view
from fleetprobe.cli.sizes_seen import sizes_line
from fleetprobe.cli.sizes_view import sizes_view
from fleetprobe.cli.terminal import ASCII, UNICODE, Marks, console, show
from tests.cli.program import SGR
from tests.cli.rows import failed, layers
from tests.cli.screen import HOSTILE, assert_harmless, drawn, on_terminal, poisoned

Facts = dict[str, Any]


def ladder(*asked: tuple[int, str], hole: str = "reverse") -> list[Facts]:
    """Exchanges in the order asked."""
    return [{"size_bytes": size, "met": met} | ({"hole": hole} if met == "stalls" else {}) for size, met in asked]


def datagrams(*asked: tuple[int, str]) -> list[Facts]:
    return [{"size_bytes": size, "met": met} for size, met in asked]


REVERSE: Facts = {
    "top_bytes": 1500,
    "ladder": ladder(
        (1280, "passes"), (1400, "passes"), (1450, "stalls"), (1400, "passes"), (1420, "stalls"), (1450, "stalls"),
        (1401, "stalls"), (1410, "stalls"), (1400, "passes"), (1401, "stalls"),
    ),
    "datagrams": datagrams((1400, "passed"), (1420, "passed"), (1500, "passed")),
    "path_mtu_bytes": 1400, "tcp_mss_bytes": 1360, "stalls_at_bytes": 1401, "to_the_byte": True,
    "path_mtu_direction": "reverse", "hole": "reverse", "udp_passed_bytes": 1500, "proof_ms": 2472.075,
    "gateway": "198.18.135.1", "interface": "eth0",
}
FORWARD: Facts = {
    "top_bytes": 1500,
    "ladder": ladder((1500, "stalls"), (1280, "passes"), (1400, "passes"), (1420, "stalls"), hole="forward"),
    "datagrams": datagrams((1280, "passed"), (1400, "passed"), (1420, "silent"), (1492, "silent"), (1500, "silent")),
    "path_mtu_bytes": 1400, "tcp_mss_bytes": 1340, "stalls_at_bytes": 1420, "path_mtu_direction": "forward",
    "begins_behind_hop": 1, "dropped": "silently", "proof_ms": 2905.0,
}
REDUCED: Facts = {
    "top_bytes": 1500, "ladder": [], "reported_mtu_bytes": 1400, "segment_bytes": 1500,
    "datagrams": datagrams((1280, "silent"), (1400, "passed"), (1420, "too big"), (1500, "too big")),
}
CLAMPED: Facts = {
    "top_bytes": 1500, "ladder": [], "segment_bytes": 1400,
    "datagrams": datagrams((1280, "passed"), (1400, "passed"), (1420, "silent"), (1500, "silent")),
}
LENT: Facts = {
    "top_bytes": 1500, "ladder": [], "proven_by": "203.0.113.5", "path_mtu_direction": "forward",
    "begins_behind_hop": 2, "dropped": "icmp filtered",
}
KNOWN: Facts = {
    **LENT, "ladder": ladder((1400, "passes")), "path_mtu_bytes": 1400, "tcp_mss_bytes": 1360, "stalls_at_bytes": 1420,
}
JUMBO: Facts = {
    "top_bytes": 9000,
    "ladder": ladder(
        *[(size, "passes") for size in (1280, 1400, 1450, 1492, 1500, *[4000] * 6)],
        *[(size, "stalls") for size in (8000, 7000, 6000, 5000, 4600, 4400, 4300, 4200, 4100, 4050, 4020, 4005)],
        (4001, "stalls"), (4001, "stalls"),
    ),
    "path_mtu_bytes": 4000, "tcp_mss_bytes": 3960, "stalls_at_bytes": 4001, "path_mtu_direction": "both",
}
EVERY = (REVERSE, FORWARD, REDUCED, CLAMPED, LENT, KNOWN, JUMBO)


def met(facts: Facts, **changes: Any) -> dict[str, Any]:
    """A record whose last step is about sizes."""
    step = {"layer": "mtu", "outcome": "fail", "code": "mtu.black_hole", "start_ms": 821.0, "duration_ms": 3286.5}
    return failed(layers=[*layers()[:3], {**step, "facts": facts}], **changes)


def table(facts: Facts, marks: Marks = UNICODE, width: int = 80, **changes: Any) -> list[str]:
    """What is drawn of the sizes, in lines."""
    view = sizes_view(met(facts, **changes), marks, width)
    assert view is not None
    return drawn(view, width).splitlines()


def test_the_sizes_stand_under_each_other_with_a_line_right_across_where_they_begin_to_vanish() -> None:
    assert table(REVERSE) == [
        "IP packet  TCP MSS  there (UDP)  exchange (TCP)",
        "     1500     1460  ✓                            our own link",
        "     1450     1410               ✗✗ reverse",
        "     1420     1380  ✓            ✗ reverse",
        "     1410     1370               ✗ reverse",
        "     1401     1361               ✗✗ reverse",
        "━━━━ from 1401 bytes on they vanish, from the host to us ━━━━━━━━━━━━━━━━━━━━━━━",
        "     1400     1360  ✓            ✓✓✓             the largest that passes",
        "     1280     1240               ✓",
        "Shown in 2.47 s and taken to the byte: packets above 1400 bytes (MSS 1360)",
        "vanish from the host to us.",
    ]


def test_forty_columns_and_ascii_say_the_same_in_fewer_words() -> None:
    assert table(FORWARD, ASCII, 40) == [
        "packet    MSS  there      exchange",
        "  1500   1440  x silent   x forward",
        "  1492   1432  x silent",
        "  1420   1360  x silent   x forward",
        "= between 1400 and 1420 they vanish ====",
        "  1400   1340  +          +",
        "  1280   1220  +          +",
        "Shown in 2.90 s, between 1400 and 1420",
        "bytes: packets above 1400 bytes (MSS",
        "1340) vanish from us to the host, behind",
        "hop 1, dropped silently.",
    ]


def test_a_router_that_says_too_big_and_silence_below_what_passed() -> None:
    lines = table(REDUCED)
    assert lines[1:6] == [
        "     1500     1460  ✗ too big                    our own link",
        "     1420     1380  ✗ too big",
        "━━━━ above 1400 too big, says a router ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━",
        "     1400     1360  ✓                            the largest that passes",
        "     1280     1240  ? silent",
    ]
    told = " ".join(lines[6:])
    assert told == (
        "A router says that packets above 1400 bytes are too big from us to the host. The way back was not asked."
    )


def test_where_tcp_keeps_below_it_is_said_beside_the_datagrams() -> None:
    lines = table(CLAMPED)
    assert lines[3] == "━━━━ above 1400 no datagram is answered ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━"
    told = " ".join(lines[-2:])
    assert told == (
        "Datagrams above 1400 bytes from us to the host are not answered; TCP keeps to packets of 1400. "
        "The way back was not asked."
    )
    assert "TCP keeps" not in " ".join(table({**CLAMPED, "segment_bytes": 1500}))


def test_a_hole_that_another_target_has_proven_names_it() -> None:
    assert sizes_view(met(LENT), UNICODE, 80) is None
    assert sizes_line(LENT) == (
        "large packets vanish from us to the host, behind hop 2, dropped by a router whose ICMP is filtered; "
        "proven with 203.0.113.5, not asked here"
    )
    assert sizes_line(LENT) in " ".join(drawn(ladder_view(met(LENT))).replace("│", " ").split())
    assert sizes_line(KNOWN) == ""
    assert " ".join(table(KNOWN)).endswith("; 203.0.113.5 has shown the same of this path.")


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ([(1280, "passes"), (1400, "stalls"), (1450, "passes")], "what passes and what stalls is not in order of size"),
        ([(1280, "stalls"), (576, "stalls")], "no size passes"),
        ([(1280, "passes"), (1500, "passes")], "every size passes"),
        ([(1280, "passes"), (1500, "unclear")], "an exchange ended in another way"),
        ([(1280, "passes"), (1500, "stalls")], "what lies beside that line was not met often enough"),
    ],
)
def test_a_ladder_that_proves_nothing_is_drawn_and_says_why(asked: list[tuple[int, str]], why: str) -> None:
    text = " ".join(table({"ladder": ladder(*asked)}, width=100))
    assert f"Nothing is proven: {why}" in text
    assert "vanish" not in text
    assert ("━" in text) == (why == "what lies beside that line was not met often enough")


def test_what_passed_whole_or_was_not_answered_is_one_line_in_the_rung() -> None:
    clean = {"ladder": [], "top_bytes": 1500, "datagrams": datagrams((1280, "passed"), (1500, "passed"))}
    assert sizes_line(clean) == "1500 bytes pass from us to the host (UDP); the way back was not asked"
    deaf = {**clean, "datagrams": datagrams((1280, "silent"), (1500, "silent"))}
    assert sizes_line(deaf) == "no datagram is answered, of 1280 to 1500 bytes"
    assert sizes_line({**deaf, "echoed_bytes": 1500}).startswith("1500 bytes pass from us to the host (echo)")
    for facts in (clean, deaf):
        assert sizes_view(met(facts), UNICODE, 80) is None
        assert sizes_line(facts) in " ".join(drawn(ladder_view(met(facts))).replace("│", " ").split())


def test_an_echo_of_full_size_takes_the_weight_from_silence() -> None:
    assert sizes_view(met({**CLAMPED, "echoed_bytes": 1500}), UNICODE, 80) is None
    first = table({**FORWARD, "echoed_bytes": 1500})[1]
    assert "? silent" in first
    assert first.endswith("our own link, echo answered")


def test_the_segment_of_a_size_follows_the_family() -> None:
    unproven = {"ladder": ladder((1280, "passes"))}
    assert "1240" in table(unproven)[1]
    assert "1220" in table(unproven, network_type="ipv6")[1]
    assert "1220" in table(unproven, network_type=None, network_peer_address="2001:db8::7")[1]
    assert "1220" in table({**unproven, "path_mtu_bytes": 1280, "tcp_mss_bytes": 1220})[1]


def test_of_many_sizes_those_near_the_boundary_stay_and_the_others_are_counted() -> None:
    lines = table(JUMBO, width=60)
    rows = [line.split() for line in lines if line.split()[0].isdigit()]
    sizes = [int(row[0]) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert {8000, 4001, 4000, 1500, 1280} <= set(sizes)
    assert "… 6 more                        6✗ reverse" in "\n".join(lines)
    assert "6✓" in lines[lines.index(next(line for line in lines if "━" in line)) + 1]
    assert len(lines) < 20


def test_the_first_proven_sizes_are_drawn_once_and_findings_only_without_steps() -> None:
    row = met(CLAMPED)
    row["findings"] = [{"layer": "mtu", "code": "mtu.black_hole", "severity": "warn", "summary": "", "facts": REVERSE}]
    text = drawn(ladder_view(row))
    assert text.count("IP packet") == 1
    assert "from 1401 bytes on" in text
    row["layers"] = layers()
    assert "from 1401 bytes on" in drawn(ladder_view(row))
    assert sizes_view(failed(), UNICODE, 80) is None


@pytest.mark.parametrize("width", [40, 55, 60, 72, 80, 100])
@pytest.mark.parametrize("marks", [UNICODE, ASCII])
def test_no_size_ladder_is_wider_than_the_terminal_or_needs_other_signs(marks: Marks, width: int) -> None:
    for facts in EVERY:
        text = drawn(ladder_view(met(facts, repro=[]), marks, width), width)
        assert all(len(line) <= width and line == line.rstrip() for line in text.splitlines())
        assert marks is UNICODE or text.isascii()


def test_without_colour_the_boundary_is_the_same_line() -> None:
    view = sizes_view(met(REVERSE), UNICODE, 80)
    assert view is not None
    coloured = drawn(view, color=Color.ALWAYS)
    assert "\x1b[1;31m━━━━ from 1401" in coloured
    assert [line.rstrip() for line in SGR.sub("", coloured).splitlines()] == drawn(view).splitlines()


def show_sizes(file: Any, row: dict[str, Any]) -> None:
    on = console(Color.ALWAYS, file, {"TERM": "xterm"})
    on.width = 80
    show(on, ladder_view(row, UNICODE, 80))


@pytest.mark.parametrize("poison", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_words_about_sizes_do_no_harm(poison: str) -> None:
    for facts in EVERY:
        for name in facts:
            bad = {**facts, name: poisoned(facts[name], poison)}
            assert_harmless(on_terminal(partial(show_sizes, row=met(bad))))
        lines = drawn(ladder_view(met(poisoned(facts, "x" * 99), repro=[]), ASCII, 40), 40).splitlines()
        assert all(len(line) <= 40 for line in lines)


@pytest.mark.parametrize(
    "wrong",
    [None, 7, -1, 0, True, 1e308, float("nan"), 10**400, "x", [], {}, [None, 3, {"a": None}], {"a": [1]}, [[]] * 9],
    ids=range(14),
)
def test_values_of_the_wrong_kind_about_sizes_are_passed_over(wrong: Any) -> None:
    for facts in EVERY:
        for name in facts:
            assert drawn(ladder_view(met({**facts, name: wrong})))
        one = [{"size_bytes": wrong, "met": wrong, "hole": wrong}]
        assert drawn(ladder_view(met({**facts, "ladder": [*one, *REVERSE["ladder"]], "datagrams": one})))


def test_a_record_with_a_hundred_thousand_sizes_is_a_page_still() -> None:
    many = {"ladder": [{"size_bytes": size % 65_535, "met": "passes"} for size in range(100_000)]}
    assert len(table(many)) < 20
