"""The response reader takes any bytes in any pieces, within bounds."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetprobe.layers.http.response import (
    ENOUGH_BYTES,
    EVENTS,
    FIRST_BYTES,
    HEAD_BYTES,
    KEPT_BYTES,
    Cut,
    Malformation,
    ResponseReader,
)

OK = b"HTTP/1.1 200 OK\r\n"


def read(*pieces: bytes) -> ResponseReader:
    reader = ResponseReader()
    reader.ask(h11.Request(method="GET", target="/", headers=[("Host", "shop.test")]))
    for piece in pieces:
        reader.feed(piece)
    return reader


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_response_with_a_length_ends_by_itself() -> None:
    reader = read(OK + b"Server: demo\r\nContent-Length: 5\r\n\r\nhello")
    assert reader.complete
    assert reader.head is not None
    assert (reader.head.status_code, bytes(reader.body), reader.header(b"server")) == (200, b"hello", b"demo")


def test_one_byte_at_a_time_reads_the_same() -> None:
    wire = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"hello ") + chunk(b"world") + b"0\r\n\r\n"
    whole, dripped = read(wire), read(*(bytes([byte]) for byte in wire))
    assert whole.complete
    assert dripped.complete
    assert bytes(whole.body) == bytes(dripped.body) == b"hello world"


def test_a_body_without_length_ends_when_the_peer_closes() -> None:
    reader = read(OK + b"\r\n", b"hello")
    assert not reader.done
    reader.feed(b"")
    assert reader.complete


@pytest.mark.parametrize("wire", [
    pytest.param(OK + b"Content-Length: 9\r\n\r\nhello", id="short of its length"),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", id="inside a chunk"),
    pytest.param(OK + b"Server: de", id="inside the head"),
])
def test_a_close_in_the_middle_is_neither_complete_nor_malformed(wire: bytes) -> None:
    reader = read(wire, b"")
    assert (reader.done, reader.malformation) == (False, None)


def test_no_body_is_awaited_where_none_can_come() -> None:
    assert read(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 70\r\n\r\n").complete
    assert read(b"HTTP/1.1 204 No Content\r\n\r\n").complete


def test_interim_responses_are_counted_and_bounded() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    ten = read(early * 10 + OK + b"Content-Length: 0\r\n\r\n")
    assert (ten.complete, ten.interim) == (True, 10)
    assert read(early * 11).malformation is Malformation.TOO_MANY_INTERIM


def test_five_hundred_header_fields_pass_and_one_more_does_not() -> None:
    fields = b"".join(b"X-%d: 1\r\n" % n for n in range(499))
    assert read(OK + fields + b"Content-Length: 0\r\n\r\n").complete
    one_more = read(OK + fields + b"X: 1\r\nContent-Length: 0\r\n\r\n")
    assert one_more.malformation is Malformation.TOO_MANY_HEADERS


@pytest.mark.parametrize("endless", [b"X: " + b"a" * 997, b"X: 1\r\n" * 700], ids=["field", "fields"])
def test_an_endless_head_stops_within_bounds(endless: bytes) -> None:
    reader, fed = read(OK), 0
    while not reader.done and fed < 10 * HEAD_BYTES:
        reader.feed(endless)
        fed += len(endless)
    assert reader.malformation is Malformation.HEAD_TOO_LONG
    assert fed <= HEAD_BYTES + len(endless)


def test_a_large_body_is_enough_and_only_its_first_part_is_kept() -> None:
    reader = read(OK + b"Content-Length: 9000000\r\n\r\n", *[b"x" * 16384] * 40)
    assert (reader.cut, reader.malformation) == (Cut.BYTES, None)
    assert len(reader.body) == KEPT_BYTES
    assert ENOUGH_BYTES <= reader.body_bytes < ENOUGH_BYTES + 16384


def test_a_body_in_a_thousand_tiny_chunks_is_enough() -> None:
    reader = read(OK + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk(b"x") * 100] * 100)
    assert (reader.cut, reader.malformation) == (Cut.CHUNKS, None)
    assert reader.body_bytes < EVENTS


@pytest.mark.parametrize("wire", [
    pytest.param(b"<html>It works!</html>", id="HTTP/0.9"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
    pytest.param(b"\x15\x03\x01\x00\x02\x02\x46", id="TLS alert"),
    pytest.param(b"H", id="nothing yet against it"),
    pytest.param(b"HTTPS", id="almost"),
    pytest.param(b"ICY 200 OK\r\n\r\n", id="shoutcast"),
])
def test_the_first_bytes_decide_whether_it_is_http_at_all(wire: bytes) -> None:
    expected = None if b"HTTP/".startswith(wire) else Malformation.NOT_HTTP
    assert read(wire).malformation is expected


@pytest.mark.parametrize("wire", [
    pytest.param(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", id="two lengths"),
    pytest.param(OK + b"Content-Length: -1\r\n\r\n", id="negative length"),
    pytest.param(OK + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", id="absurd length"),
    pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk size"),
    pytest.param(OK + b"no colon\r\n\r\n", id="field without colon"),
    pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", id="status is no number"),
    pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="switch nobody asked for"),
])
def test_broken_framing_is_named_so(wire: bytes) -> None:
    reader = read(wire)
    assert reader.malformation is Malformation.FRAMING
    assert reader.detail


WORDS = st.sampled_from([
    OK, b"HTTP/1.1 ", b"HTTP/1.0 502 Bad\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\n", b"\r\n\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 5, 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\n", b"\x00",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffffffff\r\n", b"Connection: close\r\n", b": \r\n",
    b" folded\r\n", b"\xff",
])


@given(st.lists(st.one_of(WORDS, st.binary(max_size=40)), max_size=30))
@example([OK, b"Transfer-Encoding: chunked, gzip\r\n\r\n"])
@example([b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_any_bytes_give_a_result_within_bounds(pieces: list[bytes]) -> None:
    reader = read(*pieces, b"")
    assert len(reader.body) <= KEPT_BYTES
    assert len(reader.body) <= reader.body_bytes <= sum(map(len, pieces))
    assert len(reader.first) <= FIRST_BYTES
    assert sum([reader.complete, reader.cut is not None, reader.malformation is not None]) <= 1
    assert reader.head is not None or not reader.body


@given(st.lists(st.one_of(WORDS, st.binary(max_size=40)), max_size=12))
def test_how_the_bytes_are_cut_up_does_not_matter(pieces: list[bytes]) -> None:
    wire = b"".join(pieces)
    whole, dripped = read(wire), read(*(bytes([byte]) for byte in wire))
    assert (whole.complete, whole.malformation, whole.interim) == (
        dripped.complete, dripped.malformation, dripped.interim,
    )
    assert (whole.head is None, bytes(whole.body)) == (dripped.head is None, bytes(dripped.body))
