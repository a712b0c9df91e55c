"""URLs as a certificate may hold them: the plain ones, and everything that somebody might read in another way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.layers.tls.aia_url import MOST_CHARS, place


@pytest.mark.parametrize(
    ("url", "host", "address", "path"),
    [
        ("http://ca.example/x.cer", "ca.example", None, "/x.cer"),
        ("HTTP://CA.Example:80/X.cer", "ca.example", None, "/X.cer"),
        ("http://ca.example", "ca.example", None, "/"),
        ("http://ca/x%20y.crt?cmd=cacert&n=1;2", "ca", None, "/x%20y.crt?cmd=cacert&n=1;2"),
        ("http://xn--bcher-kva.example/", "xn--bcher-kva.example", None, "/"),
        ("http://203.0.113.9/a", "203.0.113.9", "203.0.113.9", "/a"),
        ("http://[2001:DB8:0::1]/a", "[2001:db8::1]", "2001:db8::1", "/a"),
        ("http://[::ffff:127.0.0.1]/a", "[::ffff:7f00:1]", "::ffff:7f00:1", "/a"),
    ],
)
def test_a_plain_one_is_taken_apart(url: str, host: str, address: str | None, path: str) -> None:
    found = place(url)
    assert found is not None
    assert (found.host, found.address and found.address.text, found.path) == (host, address, path)


@pytest.mark.parametrize(
    "url",
    [
        "", "http://", "http:///x", "//ca.example/x", "ca.example/x", "https://ca.example/x", "ftp://ca.example/x",
        "file:///etc/passwd", "ldap://ca.example/cn=x", "unix:/run/x", "gopher://ca.example/", "http:ca.example/x",
        "http://user@ca.example/", "http://user:word@ca.example/", "http://ca.example@127.0.0.1/",
        "http://ca.example:8080/", "http://ca.example:/", "http://ca.example:080/", "http://ca.example:80:80/",
        "http://ca.example/\r\nHost: other", "http://ca.example/x\n", " http://ca.example/", "http://ca.example/ x",
        "http://ca.example\t/", "http://ca.example/\0", "http://ca.example\\@127.0.0.1/", "http://ca.example/a\\b",
        "http://ca.example#@127.0.0.1/", "http://ca.example/#x", "http://ca.example?x", "http://ca.example/{x}",
        "http://bücher.example/", "http://ca.exämple/", "http://ca。example/", "http://ca.example/ü",
        "http://127.1/", "http://0x7f.1/", "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/",
        "http://127.0.0.01/", "http://1.2.3.4.5/", "http://256.1.1.1/", "http://ca.1/", "http://ca.0x1/",
        "http://127.0.0.1./", "http://ca.example./", "http://.ca.example/", "http://ca..example/", "http://-ca.example/",
        "http://ca-.example/", "http://c_a.example/", "http://%31%32%37.0.0.1/", f"http://{'a' * 64}.example/",
        "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[::1", "http://::1/", "http://[1.2.3.4]/",
        "http://[2001:db8::1]x/", "http://[2001:db8::1]:81/", f"http://ca.example/{'x' * MOST_CHARS}",
    ],
)
def test_what_is_odd_is_refused(url: str) -> None:
    assert place(url) is None


@given(st.text(max_size=60).map(lambda rest: f"http://{rest}") | st.text(max_size=60))
def test_whatever_passes_is_one_line_of_ascii_that_reads_the_same_again(url: str) -> None:
    found = place(url)
    if found is not None:
        assert (found.host + found.path).isascii() and (found.host + found.path).isprintable()
        assert not set(" @\\#") & set(found.host)
        assert place(found.url) == found
