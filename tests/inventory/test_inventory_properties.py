"""What holds for every inventory, drawn at random: no exception, no loss, one canonical form."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleetprobe.inventory.fields import FIELDS
from fleetprobe.inventory.read import Format, entries
from fleetprobe.inventory.spec import parse
from fleetprobe.model.target import BadLine, Entry, Target

SPEC_ALPHABET = "ab1.:/-_@%[]#?,=\"' \t\n\\0ü。\uff11\u0300é\x00\x1b\ud800"
specs = st.one_of(
    st.text(max_size=80),
    st.text(SPEC_ALPHABET, max_size=60),
    st.lists(
        st.sampled_from(
            [
                "https://",
                "tcp://",
                "a.test",
                "192.0.2.1",
                "127.1",
                "[2001:db8::1]",
                "2001:db8::/64",
                "/24",
                "-9",
                ":443",
                ":22,80",
                ":1-9",
                "/p",
                "?q",
                "#f",
                "%eth0",
                "@",
                "u:p@",
                "ü",
                "xn--",
                ".",
                " sni=a",
                " label.a=b",
            ]
        ),
        max_size=5,
    ).map("".join),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), specs)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
fields = st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=8)), values, max_size=4)


def assert_sound(entry: Entry) -> None:
    """What every entry promises to those who write it into a record."""
    assert len(entry.target_id) == 16
    if isinstance(entry, BadLine):
        assert len(entry.raw) <= 512
        assert entry.reason.isascii()
        assert entry.reason.isprintable()
        assert (entry.raw + entry.source).encode()
        return
    assert entry.canonical.isascii()
    assert entry.canonical.isprintable()
    assert " " not in entry.canonical
    assert 1 <= entry.port <= 65535
    again = parse(entry.canonical, identity_fields(entry), "again")
    assert isinstance(again, Target), again
    assert again.target_id == entry.target_id


def identity_fields(target: Target) -> dict[str, object]:
    named = {"sni": target.sni, "host_header": target.host_header, "connect_to": target.connect_to}
    return {name: value for name, value in named.items() if value is not None}


@settings(max_examples=400, deadline=None)
@given(specs, fields)
def test_parse_never_raises_and_its_canonical_form_is_a_fixpoint(
    spec: str, given_fields: dict[str, Any]
) -> None:
    assert_sound(parse(spec, given_fields, "f:1"))


@settings(max_examples=400, deadline=None)
@given(specs)
def test_a_spec_alone_never_raises(spec: str) -> None:
    assert_sound(parse(spec, {}, "f:1"))
    assert_sound(parse(spec, {"port": 443, "service": "https"}, "f:1"))


labels = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,8}[a-z0-9_])?", fullmatch=True)
names = st.tuples(st.lists(labels, max_size=3), st.sampled_from(["test", "example", "xn--mnchen-3ya"])).map(
    lambda parts: ".".join([*parts[0], parts[1]])
)
hosts = st.one_of(names, st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
paths = st.one_of(st.none(), st.text("ab/%?=&@:é~", max_size=10).map(lambda text: "/" + text))


@settings(max_examples=400, deadline=None)
@given(
    hosts,
    st.integers(1, 65535),
    st.sampled_from(["https", "http"]),
    paths,
    st.one_of(st.none(), names),
    st.one_of(st.none(), hosts),
)
def test_good_targets_are_understood(
    host: str, port: int, service: str, path: str | None, sni: str | None, connect_to: str | None
) -> None:
    written = f"[{host}]" if ":" in host else host
    extra = {"sni": sni if service == "https" else None, "connect_to": connect_to}
    entry = parse(f"{service}://{written}:{port}{path or ''}", extra, "f:1")
    mapped = any(
        (text or "").startswith("::ffff:") and (text or "").count(":") <= 4 for text in (host, connect_to)
    )
    if not mapped:
        assert isinstance(entry, Target), entry
        assert (entry.service, entry.port) == (service, port)
    assert_sound(entry)


pieces = st.lists(
    st.one_of(
        st.binary(max_size=30),
        specs.map(lambda text: text.encode("utf-8", "replace")),
        st.sampled_from(
            [
                b"\n",
                b"\r\n",
                b"\xef\xbb\xbf",
                b'"',
                b",",
                b";",
                b"host,port\n",
                b"- ",
                b"{",
                b"}",
                b"[",
                b"]",
                b": ",
                b"&a ",
                b"*a",
                b"!!x ",
                b"|\n  ",
                b"? ",
                b"---\n",
                b"targets:\n",
                b"defaults: ",
                b"a.test:443\n",
                b'{"target":"a.test:443"}\n',
            ]
        ),
    ),
    max_size=12,
).map(b"".join)


@settings(max_examples=400, deadline=None)
@example(b'\t""\x00', Format.CSV)
@given(pieces, st.one_of(st.none(), st.sampled_from(Format)))
def test_reading_never_raises_whatever_the_bytes(data: bytes, form: Format | None) -> None:
    found = list(entries(["-"], (), form=form, max_targets=50, stdin=io.BytesIO(data)))
    assert len(found) <= 51
    for entry in found:
        assert_sound(entry)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(names, st.integers(1, 65535)), max_size=8))
def test_all_formats_understand_the_same_targets(pairs: list[tuple[str, int]]) -> None:
    texts = {
        Format.LINES: "".join(f"{host}:{port}\n" for host, port in pairs),
        Format.CSV: "host,port\n" + "".join(f"{host},{port}\n" for host, port in pairs),
        Format.JSONL: "".join(json.dumps({"host": host, "port": port}) + "\n" for host, port in pairs),
        Format.YAML: "".join(f"- {{host: {host}, port: {port}}}\n" for host, port in pairs),
    }
    expected = [(host, port) for host, port in pairs]
    for form, text in texts.items():
        found = list(entries(["-"], (), form=form, stdin=io.BytesIO(text.encode())))
        assert [(entry.host, entry.port) for entry in found if isinstance(entry, Target)] == expected, form


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=30), max_size=8))
def test_no_line_is_lost(lines: list[str]) -> None:
    data = "\n".join(lines).encode("utf-8", "backslashreplace")
    found = list(entries(["-"], (), form=Format.LINES, stdin=io.BytesIO(data)))
    texts = [
        line.removesuffix("\r").removeprefix("\ufeff" if n == 0 else "").strip(" \t")
        for n, line in enumerate(lines)
    ]
    expected = {f"stdin:{n}" for n, text in enumerate(texts, start=1) if text and not text.startswith("#")}
    assert {entry.source for entry in found} == expected
