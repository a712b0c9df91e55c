"""Each format by itself: what becomes a row, what a bad line, and where it stood."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest

from fleetprobe.examination import Climb, Examination
from fleetprobe.inventory import jsonl
from fleetprobe.inventory.read import Format, InventoryError, entries
from fleetprobe.model.target import BadLine, Entry, Target
from fleetprobe.model.verdict import State, Verdict
from fleetprobe.record.line import encode
from fleetprobe.record.result import Row, result_row


def read(data: bytes | str, form: Format | None = None, **options: Any) -> list[Entry]:
    stream = io.BytesIO(data.encode() if isinstance(data, str) else data)
    return list(entries(["-"], (), form=form, stdin=stream, **options))


def brief(found: list[Entry]) -> list[tuple[str | None, str]]:
    """(source, canonical form) of targets, (source, "!") of bad lines."""
    return [(entry.source, entry.canonical if isinstance(entry, Target) else "!") for entry in found]


def only_bad(found: list[Entry]) -> BadLine:
    [entry] = found
    assert isinstance(entry, BadLine), entry
    return entry


def labels(entry: Entry) -> dict[str, str]:
    assert isinstance(entry, Target), entry
    return dict(entry.labels)


# Lines


def test_lines_skip_blanks_and_comments_and_keep_their_numbers() -> None:
    found = read(b"\xef\xbb\xbf# fleet\r\n\r\n  a.test:443  # web\r\nbad\r\n\tb.test:22")
    assert brief(found) == [
        ("stdin:3", "https://a.test:443"),
        ("stdin:4", "!"),
        ("stdin:5", "ssh://b.test:22"),
    ]


def test_line_fields_take_quotes_escapes_and_a_hash_inside() -> None:
    line = (
        r"""https://a.test/# expect_body="say \"hi\" \\ # no" label.a='it is "so"' label.b=c#d path=/p#q #"""
    )
    [entry] = read(line)
    assert isinstance(entry, Target)
    assert entry.expect.body == 'say "hi" \\ # no'
    assert dict(entry.labels) == {"a": 'it is "so"', "b": "c#d"}
    assert entry.path == "/p"


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("a.test:443 snii=b.test", "did you mean sni?"),
        ("a.test:443 labels=x", "label.NAME"),
        ("a.test:443 target=b", "unknown field"),
        ("a.test:443 sni=a.test sni=a.test", "given twice"),
        ("a.test:443 label.a=1 label.a=2", "given twice"),
        ('a.test:443 expect_body="open', "not key=value"),
        ('a.test:443 expect_body="a"b', "not key=value"),
        ("a.test:443 b.test:443", "not key=value"),
        ("a.test :443", "not key=value"),
        ("a.test:443\u00a0sni=a.test", "white space"),
        ("a.test:443 sni=", "empty"),
        ("a.test:443 label.=x", "label name"),
        ("a.test:443\0", "U+0000"),
        ("a.test:443\rb.test:443", "U+000D"),
    ],
)
def test_a_bad_line_says_why(line: str, fragment: str) -> None:
    assert fragment in only_bad(read(line, Format.LINES)).reason


def test_an_overlong_line_and_a_broken_encoding_cost_only_their_own_line() -> None:
    found = read(b"a.test:443\n" + b"x" * 200_000 + b"\n\xff\xfe\nb.test:443\n" + b"y" * 70_000)
    assert [mark for _, mark in brief(found)] == ["https://a.test:443", "!", "!", "https://b.test:443", "!"]
    assert [entry.source for entry in found] == [f"stdin:{n}" for n in range(1, 6)]
    assert all(len(entry.raw) <= 512 for entry in found if isinstance(entry, BadLine))


def test_a_line_of_exactly_64_kib_is_read_and_one_byte_more_is_not() -> None:
    fits = b"a.test:443 #".ljust(64 * 1024, b"x")
    assert brief(read(fits + b"\n"))[0][1] == "https://a.test:443"
    assert "longer than" in only_bad(read(fits + b"x")).reason


def test_an_endless_line_ends_the_reading() -> None:
    with open("/dev/zero", "rb") as zero:
        assert "no end in sight" in only_bad(list(entries(["-"], (), stdin=zero))).reason


# JSON lines


def test_jsonl_takes_targets_hosts_and_result_records_and_skips_other_records() -> None:
    target = Target(service="https", host="a.test", port=443)
    lines = [
        {"target": "b.test:22", "labels": {"x": 1}},
        {"host": "2001:db8::1", "port": 80, "sni": None},
        {"kind": "run_start", "target": "never.test:1"},
        {
            "kind": "result",
            "target": target.canonical,
            "target_id": target.target_id,
            "labels": {"e": "p"},
            "state": "fail",
        },
        {"kind": "certificate"},
        {"kind": "amend"},
        {"kind": "cause"},
        {"kind": "run_end"},
    ]
    found = read("\n".join(json.dumps(line) for line in lines))
    assert brief(found) == [
        ("stdin:1", "ssh://b.test:22"),
        ("stdin:2", "http://[2001:db8::1]:80"),
        ("stdin:4", "https://a.test:443"),
    ]
    assert labels(found[2]) == {"e": "p"}


def test_a_result_of_a_target_with_sni_is_not_mistaken_for_the_same_without() -> None:
    target = Target(service="tls", host="192.0.2.1", port=636, sni="a.test")
    line = json.dumps({"kind": "result", "target": target.canonical, "target_id": target.target_id})
    assert "does not hold all" in only_bad(read(line)).reason


IDENTITIES = [
    Target(service="https", host="a.test", port=443),
    Target(service="https", host="a.test", port=8443, path="/health?deep=1"),
    Target(service="tls", host="192.0.2.1", port=636, sni="a.test"),
    Target(service="http", host="2001:db8::1", port=80, host_header="b.test:8080"),
    Target(service="tcp", host="a.test", port=22, connect_to="2001:db8::2"),
    Target(
        service="https", host="a.test", port=443, path="/p", sni="s.test", host_header="h.test",
        connect_to="192.0.2.9", labels=(("env", "prod"),),
    ),
]  # fmt: skip


def record_of(target: Target) -> Row:
    """The line that a scan writes of it."""
    examined = Examination(
        target=target, ladder=(), started_at=0.0, started_s=0.0, ended_s=0.0,
        trunk=Climb(purpose="climb", started_s=0.0), addresses=[], speaker=None, verdict=Verdict(state=State.OK),
    )  # fmt: skip
    row: Row = json.loads(encode(result_row(examined, "run", "here", 1)))
    return row


@pytest.mark.parametrize("target", IDENTITIES, ids=lambda target: target.target_id)
@pytest.mark.parametrize("indent", [None, 2, "\t"], ids=["one line", "as jq prints", "by tabs"])
def test_the_record_of_a_target_read_back_is_the_very_same_target(target: Target, indent: str | int | None) -> None:
    (entry,) = read(json.dumps(record_of(target), indent=indent))
    assert isinstance(entry, Target), entry
    assert replace(entry, source=None) == target
    assert entry.target_id == target.target_id


@pytest.mark.parametrize("name", ["sni", "host_header", "connect_to"])
def test_a_record_that_lost_a_part_of_its_target_is_no_other_target(name: str) -> None:
    record = {**record_of(IDENTITIES[-1]), name: None}
    assert "does not hold all" in only_bad(read(json.dumps(record))).reason


def test_objects_spread_over_lines_are_told_apart_and_keep_the_number_of_their_first_line() -> None:
    spread = json.dumps({"target": "a.test:443", "labels": {"x": "}"}}, indent=2)
    single = '{"target": "b.test:443"}'
    found = read("\n".join([spread, single, spread.replace("a.test", "c.test"), single.replace("b", "d")]))
    assert brief(found) == [
        ("stdin:1", "https://a.test:443"),
        ("stdin:7", "https://b.test:443"),
        ("stdin:8", "https://c.test:443"),
        ("stdin:14", "https://d.test:443"),
    ]


def test_an_object_without_an_end_costs_itself_and_not_the_lines_behind_it() -> None:
    lines = ["{", '  "target": "a.test:443",', '{"target": "b.test:443"}', "{", "}"]
    broken, good, empty = read("\n".join(lines))
    assert isinstance(broken, BadLine)
    assert (broken.source, broken.reason[:8]) == ("stdin:1", "not JSON")
    assert brief([good]) == [("stdin:3", "https://b.test:443")]
    assert isinstance(empty, BadLine)
    assert (empty.source, empty.reason[:12]) == ("stdin:4", "the entry mu")


def test_an_object_spread_over_endless_lines_takes_no_more_memory_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "_SPREAD_CHARACTERS", 100)
    lines = ["{", *(f'  "k{number}": 1,' for number in range(50)), '  "target": "a.test:1"', "}"]
    assert "too long" in only_bad(read("\n".join(lines))).reason


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("{", "not JSON"),
        ('{"target": "a.test:443"} x', "not JSON"),
        ("[1]", "not a JSON object"),
        ('"a.test:443"', "not a JSON object"),
        ("{}", "either target or host"),
        ('{"target": "a.test:1", "host": "a.test"}', "not both"),
        ('{"target": null}', "either target or host"),
        ('{"target": 5}', "must be a text"),
        ('{"host": ["a.test"], "port": 1}', "must be a text"),
        ('{"target": "a.test:443\\n"}', "U+000A"),
        ('{"host": "a.test", "port": "80\\n"}', "U+000A"),
        ('{"host": "a.test", "port": 65616}', "too large"),
        ('{"host": "a.test", "port": 1e2}', "plain decimal"),
        ('{"target": "a.test:443", "prot": 1}', "did you mean port?"),
        ('{"kind": "result", "target": null}', "names no target"),
        ('{"kind": "result", "target": "host:0", "code": "input.invalid"}', "named no target"),
        ('{"kind": "result", "target": "https://a.test:443", "sni": ["b.test"]}', "field sni must be a text"),
        ('{"kind": ["result"], "target": "a.test:443"}', "unknown field 'kind'"),
        ('{"target": "a.test:443", "labels": ' + "[" * 5000 + "]" * 5000 + "}", "not JSON"),
        ('{"target": "\\ud800:443"}', "not JSON"),
    ],
)
def test_a_bad_json_line_says_why(line: str, fragment: str) -> None:
    assert fragment in only_bad(read(line, Format.JSONL)).reason


# CSV


def test_csv_columns_become_fields_and_the_rest_labels() -> None:
    found = read(
        "\ufeffName,Port,SNI,label.env,Cost Centre\r\n"
        'a.test, 8443 ,,prod,"1, 2"\r\n\r\n,,,,\r\nb.test,22\r\n',
        Format.CSV,
    )
    assert brief(found) == [("stdin:2", "tcp://a.test:8443"), ("stdin:5", "ssh://b.test:22")]
    assert labels(found[0]) == {"env": "prod", "Cost_Centre": "1, 2"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_delimiter_comes_from_the_header(delimiter: str) -> None:
    text = (
        f"url{delimiter}owner\nhttps://a.test/a,b;c{delimiter}x y\n"
        if delimiter == "\t"
        else f"url{delimiter}owner\nhttps://a.test{delimiter}x\n"
    )
    assert isinstance(read(text, Format.CSV)[0], Target)


def test_csv_mapping_names_the_columns_and_overrules_the_guess() -> None:
    text = "name;IP;svc_port;port\nweb-1;192.0.2.1;443;blue\n"
    [entry] = read(text, Format.CSV, mapping={"host": "ip", "port": "svc_port"})
    assert brief([entry])[0][1] == "https://192.0.2.1:443"
    assert labels(entry) == {"name": "web-1", "port": "blue"}


def test_a_cell_with_line_breaks_keeps_rows_whole() -> None:
    found = read('host,port,notes\na.test,443,"one\nevil.test,22,\ntwo"\nb.test,22,\n', Format.CSV)
    assert brief(found) == [("stdin:2", "https://a.test:443"), ("stdin:5", "ssh://b.test:22")]
    assert labels(found[0]) == {"notes": "one evil.test,22, two"}


def test_unknown_columns_never_make_a_row_bad_by_number_or_length() -> None:
    header = ",".join(["host", "port", *(f"c{n}" for n in range(50))])
    [entry] = read(f"{header}\na.test,443,{','.join(['v' * 400] * 50)}\n", Format.CSV)
    assert len(labels(entry)) == 32
    assert {len(value) for value in labels(entry).values()} == {256}


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("name,ip\na,192.0.2.1\n", "--map host=COLUMN"),
        ("a,b\nc,d\n", "no column is the host"),
        ("a.test:443\nb.test:443\n", "no column is the host"),
        ("host,host\na,b\n", "occurs twice"),
        ('host,"port\na.test,443\n', "nothing behind the header"),
        (b"host,\xff\na.test,443\n", "not UTF-8"),
        (",".join(f"c{n}" for n in range(1025)), "1025 columns"),
    ],
)
def test_a_header_that_cannot_be_used_is_one_bad_line(text: str | bytes, fragment: str) -> None:
    entry = only_bad(read(text, Format.CSV))
    assert fragment in entry.reason
    assert entry.source == "stdin:1"


def test_csv_bad_rows_cost_only_themselves() -> None:
    found = read(
        b"host,port\na.test,443\nb.test,443,x,y\nc.t\xe9st,443\nd.test\0,443\ne\rf.test,443\n,443\n"
        + b"x" * 70_000
        + b",1\ng.test,443\n",
        Format.CSV,
    )
    assert [mark for _, mark in brief(found)] == ["https://a.test:443", *"!!!!!!", "https://g.test:443"]
    assert [entry.source for entry in found] == [f"stdin:{n}" for n in range(2, 10)]


@pytest.mark.parametrize(
    ("filler", "reason"),
    [
        ("", "a quote is not closed"),
        ("x\n" * 900, "a quote is not closed"),
        ("\n" * 5000, "a quote stays open"),
        (",\n" * 5000, "a quote stays open"),
        (("x" * 60_000 + "\n") * 50, "a quote stays open"),
    ],
)
def test_an_open_quote_ends_the_file_and_takes_no_half_rows(filler: str, reason: str) -> None:
    found = read('host,port\na.test,443\n"b.test,443\n' + filler, Format.CSV)
    assert brief(found) == [("stdin:2", "https://a.test:443"), ("stdin:3", "!")]
    assert only_bad(found[1:]).reason.startswith(reason)
    assert "nothing behind it was read" in only_bad(found[1:]).reason


def test_csv_mapping_is_checked() -> None:
    with pytest.raises(InventoryError, match="knows no field 'hots'"):
        entries([], (), mapping={"hots": "ip"})
    assert "not in the header" in only_bad(read("a,b\n1,2\n", Format.CSV, mapping={"host": "ip"})).reason
