"""Protocols are named by their fixed openings, and strange bytes are made fit to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.layers.first_bytes import as_text, name_protocol, printable


@pytest.mark.parametrize(("data", "name"), [
    (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
    (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
    (b"220 mx.test ESMTP Postfix\r\n", "SMTP"),
    (b"220-mx.test smtp ready\r\n", "SMTP"),
    (b"220 ProFTPD Server ready\r\n", "FTP"),
    (b"220 welcome\r\n", "SMTP or FTP"),
    (b"554 no\r\n", "SMTP or FTP"),
    (b"+OK POP3 ready\r\n", "POP3"),
    (b"* OK IMAP4rev1\r\n", "IMAP"),
    (b"RFB 003.008\n", "VNC"),
    (b"-ERR unknown command\r\n", "Redis"),
    (b"\x15\x03\x01\x00\x02\x02\x46", "TLS alert"),
    (b"\x16\x03\x03\x00\x7a\x02", "TLS"),
    (b"\x4a\x00\x00\x00\x0a8.0.36\x00", "MySQL"),
    (b"\x45\x00\x00\x00\xff\x6a\x04Host", "MySQL"),
    (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", "HTTP/2"),
    (b"\x45\x00\x00\x01\xff\x10\x04Too", "MySQL"),
    (b"NOTICE AUTH :*** Looking up", "IRC"),
    (b":irc.test NOTICE * :*** Looking up", "IRC"),
    (b"\xff\xfd\x18\xff\xfd\x20", "Telnet"),
    (b"\n<!DOCTYPE html>", "HTML without HTTP"),
])
def test_an_opening_names_its_protocol(data: bytes, name: str) -> None:
    assert name_protocol(data) == name


@pytest.mark.parametrize("data", [
    b"", b"H", b"HTTP", b"HTTPS/1", b"ssh-2.0", b"\x15\x02\x00", b"2200 x", b"+OKAY", b"hello",
    b"\x00\x00\x00\x00\x0a", b"NOTICE", b"\x4a\x00\x00\x01\x0a8.0.36\x00",
])
def test_what_is_no_opening_has_no_name(data: bytes) -> None:
    assert name_protocol(data) is None


def test_what_a_terminal_might_obey_is_escaped() -> None:
    hostile = "\x1b[2J\x9b31m\u202eevil\x00\r\n".encode() + b"\xff"
    assert printable(hostile, 100) == r"\x1b[2J\x9b31m\u202eevil\x00\r\n\xff"


def test_a_long_line_is_cut_and_shows_it() -> None:
    assert printable(b"x" * 100, 10) == "x" * 10
    assert printable(b"\x00" * 100, 10) == r"\x00\x00\…"


@given(st.binary(max_size=300), st.integers(1, 300))
def test_any_bytes_can_be_named_and_shown(data: bytes, limit: int) -> None:
    assert name_protocol(data) is None or data
    shown = printable(data, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    as_text(data, limit).encode("utf-8")
