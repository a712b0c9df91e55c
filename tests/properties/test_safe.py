"""What leaves for a terminal or a line is harmless, whatever came in."""

from __future__ import annotations

import json
import sys
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from fleetprobe.model.safe import ascii_json, printable, without_surrogates

_CATEGORIES_SHOWN = {"L", "M", "N", "P", "S"}


def harmless(char: str) -> bool:
    return char == " " or unicodedata.category(char)[0] in _CATEGORIES_SHOWN


def test_no_code_point_at_all_gets_through_that_a_terminal_could_act_upon() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    shown = printable(everything, limit=len(everything))
    assert len(everything) == 1_114_112
    assert all(map(harmless, set(shown)))
    for char in ("\x1b", "\x9b", "\x07", "\r", "\n", "\0", "\u202e", "\u200b", "\u2028", "\ufeff", "\ud800", "\ue000"):
        assert char not in shown


def test_plain_text_stays_as_it_is_in_every_script() -> None:
    for text in ("plain text, 100%!", "Größe", "日本語", "עברית", "naïve — “quoted”"):
        assert printable(text) == text


@given(st.text(max_size=50))
@example("\x1b]0;owned\x07\x1b[31m")
@example("\ud83d\ude00")
def test_nothing_is_lost_but_shown_and_what_is_shown_can_be_told_apart(text: str) -> None:
    shown = printable(text)
    assert all(map(harmless, shown))
    assert len(shown) >= len(text)


@given(st.text(max_size=40), st.integers(0, 40))
def test_a_long_text_is_cut_and_says_so(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.endswith("…") if len(text) > limit else shown == printable(text, 10_000)
    assert len(shown) <= limit * len("\\u{10ffff}") + 1


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@example("\x7f\x80é\u2028😀")
def test_json_in_ascii_reads_back_as_the_same_text(text: str) -> None:
    utf8 = json.dumps(text, ensure_ascii=False).encode()
    line = ascii_json(utf8)
    assert line.isascii()
    assert b"\x7f" not in line
    assert json.loads(line) == text


@given(st.text(max_size=40))
@example("a\udcffb")
def test_without_surrogates_every_text_has_a_utf_8(text: str) -> None:
    clean = without_surrogates(text)
    clean.encode("utf-8")
    if not any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        assert clean == text
