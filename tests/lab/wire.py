"""What the wire shows for each target: plain sockets and no opinion. Runs inside the lab's client.

Reads JSON lines of inventory fields from stdin and writes one JSON object, case to observation. It shares no
code with fleetprobe, so that the scanner is graded against faults which something else has seen too.
"""

from __future__ import annotations

import _ssl
import contextlib
import errno
import fcntl
import ipaddress
import json
import os
import re
import select
import socket
import ssl
import struct
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

RESOLVER = "203.0.113.53"
DNS_TIMEOUT_S = 2.5
CONNECT_TIMEOUT_S = 3.7
TALK_TIMEOUT_S = 5.0
IP_RECVERR, IPV6_RECVERR, MSG_ERRQUEUE = 11, 25, 0x2000
EXTENDED_ERROR = struct.Struct("=IBBBBII")
UNACKED_OFFSET = 8 + 4 * 4
TOTAL_RETRANS_OFFSET = 8 + 23 * 4
SIOCGIFFLAGS, IFF_UP, IFF_RUNNING = 0x8913, 0x1, 0x40
CHANGED = ("tls-name-", "tls-cipher-", "tls-refused-", "tls-newer-", "tls-alert-")
TLS_ALERT, TLS_HANDSHAKE, CERTIFICATE_REQUEST = 21, 22, 13
LINGER_RESET = struct.pack("ii", 1, 0)
OTHER_PORTS = (1, 22, 80, 443)
LIFE_TIMEOUT_S = 0.7
PORT_TRIES, PORT_PAUSE_S = 25, 0.2
FARTHEST_HOP = 4
PORTS = {"http": 80, "https": 443, "tls": 443, "ssh": 22}


def observe(fields: dict[str, Any], resolver: str, ca_file: str) -> dict[str, Any]:
    url = urlsplit(fields["target"])
    host, port = str(url.hostname), url.port or PORTS[url.scheme]
    seen: dict[str, Any] = {"dns": None, "addresses": {}}
    dialled = fields.get("connect_to", host)
    try:
        ipaddress.ip_address(dialled)
        addresses = [dialled]
    except ValueError:
        seen["dns"] = resolve(dialled, resolver)
        seen["hosts"] = pinned(dialled)
        addresses = seen["hosts"] or seen["dns"]["addresses"]
    seen["link"] = link("eth0")
    name = fields.get("sni", host)
    for address in addresses:
        seen["addresses"][address] = talk(url.scheme, address, port, name, url.path, ca_file)
        if fields["labels"]["case"].startswith("tls-large-hello"):
            seen["addresses"][address]["long_hello"] = long_hello(address, port, name, ca_file)
        if fields["labels"]["case"].startswith(CHANGED):
            others = {name, host, fields.get("host_header", ""), ""} - {address}
            seen["addresses"][address]["changed"] = changed(address, port, name, sorted(others), ca_file)
        if "trust" in fields:
            seen["addresses"][address]["elsewhere"] = by_the_other_authority(address, port, name, ca_file)
    return seen


def by_the_other_authority(address: str, port: int, name: str, ca_file: str) -> dict[str, Any]:
    """A handshake like the other, of a client that trusts the other of the lab's two authorities."""
    with stream(address) as sock:
        sock.settimeout(TALK_TIMEOUT_S)
        sock.connect((address, port))
        return handshake(sock, name, os.path.join(os.path.dirname(ca_file), "elsewhere.pem"), None)


def changed(address: str, port: int, name: str, others: list[str], ca_file: str) -> dict[str, dict[str, Any]]:
    """Handshakes with every cipher suite, without TLS 1.3, and with names other than the target's."""

    def every_suite(context: ssl.SSLContext) -> None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:COMPLEMENTOFALL:COMPLEMENTOFDEFAULT:@SECLEVEL=0")

    def below_13(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    def unchecked(context: ssl.SSLContext) -> None:
        context.check_hostname = False

    trials = {"every suite": (name, every_suite), "below 1.3": (name, below_13)}
    trials |= {f"name {other}": (other, unchecked) for other in others if other != name}
    found = {}
    for what, (said, change) in trials.items():
        with stream(address) as sock:
            sock.settimeout(TALK_TIMEOUT_S)
            sock.connect((address, port))
            found[what] = handshake(sock, said, ca_file, None, change=change)
    return found


def long_hello(address: str, port: int, name: str, ca_file: str) -> dict[str, Any]:
    """A handshake like the other, but for a list of protocols that makes the hello longer than a segment."""
    with stream(address) as sock:
        sock.settimeout(TALK_TIMEOUT_S)
        sock.connect((address, port))
        return handshake(sock, name, ca_file, None, alpn=["http/1.1", *(f"{number:0200}" for number in range(6))])


def pinned(name: str) -> list[str]:
    with open("/etc/hosts", encoding="ascii") as lines:
        return [line.split()[0] for line in lines if name in line.split()[1:]]


def resolve(name: str, resolver: str) -> dict[str, Any]:
    start = time.monotonic()
    found: dict[str, Any] = {"addresses": [], "aliases": [], "rcode": "silent", "cut": False, "silent": []}
    for kind in ("A", "AAAA"):
        try:
            query = dns.message.make_query(name, kind)
            reply = dns.query.udp(query, resolver, timeout=DNS_TIMEOUT_S)
            found["cut"] = bool(reply.flags & dns.flags.TC)
            if found["cut"]:
                reply = dns.query.tcp(query, resolver, timeout=DNS_TIMEOUT_S)
        except dns.exception.Timeout:
            found["silent"].append(kind)
            break
        except PermissionError:
            found["rcode"] = "denied"
            break
        found["rcode"] = dns.rcode.to_text(reply.rcode())
        for rrset in reply.answer:
            key = "aliases" if rrset.rdtype == dns.rdatatype.CNAME else "addresses"
            found[key] += [f"{rrset.name} {item}" if key == "aliases" else item.to_text() for item in rrset]
    found["aliases"] = sorted(set(found["aliases"]))
    found["ms"] = (time.monotonic() - start) * 1000
    return found


KEPT: dict[str, socket.socket] = {}
"""Connections to bare ports stay open to the end: others are to be seen beside them."""


def talk(scheme: str, address: str, port: int, name: str, path: str, ca_file: str) -> dict[str, Any]:
    with stream(address) as sock:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        seen = connect(sock, address, port)
        own = sock.getsockname()[0]
        if seen["connect"] == "open":
            return {**seen, **speak(sock, scheme, name, path, ca_file)}
    # Only now that this one is closed: its SYNs would go on, and might yet get through.
    return {**seen, **surroundings(address, port, own, seen["connect"])}


def speak(sock: socket.socket, scheme: str, name: str, path: str, ca_file: str) -> dict[str, Any]:
    sock.settimeout(TALK_TIMEOUT_S)
    request = f"GET {path or '/'} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
    start = time.monotonic()
    seen: dict[str, Any] = {}
    if scheme == "http":
        seen["answer"] = exchange(sock, request, start)
    elif scheme in ("https", "tls"):
        seen["tls"] = handshake(sock, name, ca_file, request if scheme == "https" else None)
    elif scheme == "tcp":
        KEPT[sock.getpeername()[0]] = sock.dup()
    elif scheme == "ssh":
        seen["answer"] = exchange(sock, b"", start)
    elif scheme in UPGRADES:
        seen["plain"] = upgrade(sock, scheme)
        if seen["plain"]["ending"] == "agreed" and not seen["plain"]["extra"]:
            seen["tls"] = handshake(sock, name, ca_file, None)
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    seen["unacked"] = struct.unpack_from("=I", info, UNACKED_OFFSET)[0]
    return seen


def stream(address: str) -> socket.socket:
    """A socket that leaves no TIME_WAIT behind, which would hold one of few source ports."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    return sock


def surroundings(address: str, port: int, own: str, outcome: str) -> dict[str, Any]:
    """What speaks around a port that did not open; the lab's gateways all end in 1."""
    gateway = own.rpartition(":" if ":" in own else ".")
    on_link = address.startswith(gateway[0] + gateway[1])
    seen: dict[str, Any] = {"udp": datagram(address), "on_link": on_link}
    if outcome == "silent":
        seen["kept"] = echoes(KEPT[address]) if address in KEPT else None
        others = (p for p in OTHER_PORTS if p != port)
        seen["alive"] = "refused" in seen["udp"] or any(answers(address, p) for p in others)
        seen["gateway"] = answers("".join((*gateway[:2], "1")), 1)
    if outcome == "Connection refused":
        hops = range(1, FARTHEST_HOP + 1)
        seen["rst_ttl"] = next((ttl for ttl in hops if answers(address, port, ttl)), None)
    return seen


def echoes(sock: socket.socket) -> bool:
    """Whether what is said over a connection from before still comes back."""
    sock.settimeout(LIFE_TIMEOUT_S)
    try:
        sock.sendall(b"?")
        return sock.recv(1) == b"?"
    except OSError:
        return False


def answers(address: str, port: int, ttl: int | None = None) -> bool:
    """Whether a SYN, which may pass so many hops, brings back a SYN-ACK or a RST."""
    with stream(address) as sock:
        if ttl is not None and sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
        elif ttl is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        sock.settimeout(LIFE_TIMEOUT_S)
        return sock.connect_ex((address, port)) in (0, errno.ECONNREFUSED)


def link(name: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sH22x", name.encode(), 0)
        try:
            flags = struct.unpack_from("H", fcntl.ioctl(sock, SIOCGIFFLAGS, asked), 16)[0]
        except OSError:
            return "absent"
    return "off" if not flags & IFF_UP else "up" if flags & IFF_RUNNING else "no carrier"


def connect(sock: socket.socket, address: str, port: int) -> dict[str, Any]:
    start = time.monotonic()
    sock.setblocking(False)
    tries = 0
    while (code := sock.connect_ex((address, port))) == errno.EADDRNOTAVAIL and tries < PORT_TRIES:
        tries += 1
        time.sleep(PORT_PAUSE_S)
    at_once = code != errno.EINPROGRESS
    if not at_once:
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        ready = poll.poll(CONNECT_TIMEOUT_S * 1000)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if ready else -1
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return {
        "connect": "open" if code == 0 else "silent" if code == -1 else os.strerror(code),
        "at_once": at_once,
        "out_of_ports": tries,
        "ms": (time.monotonic() - start) * 1000,
        "icmp": error_queue(sock, address),
        "retransmits": struct.unpack_from("=I", info, TOTAL_RETRANS_OFFSET)[0],
    }


def datagram(address: str) -> str:
    """What becomes of a datagram to a port that is surely closed, in the words of the system."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(LIFE_TIMEOUT_S)
        try:
            sock.connect((address, 33999))
            sock.send(b"?")
            sock.recv(64)
        except TimeoutError:
            return "silent"
        except OSError as error:
            return os.strerror(error.errno or 0).lower()
        return "answered"


NUMBERED, LINE = rb"(?m)^\d{3} .*\n", rb"\n"
UPGRADES: dict[str, tuple[tuple[bytes, bytes, bytes], ...]] = {
    "smtp": (
        (b"", NUMBERED, rb"^220"), (b"EHLO wire.lab.test\r\n", NUMBERED, rb"(?m)^250[ -]STARTTLS\r"),
        (b"STARTTLS\r\n", NUMBERED, rb"^220"),
    ),
    "imap": (
        (b"", LINE, rb"^\* OK"), (b"f1 CAPABILITY\r\n", rb"(?m)^f1 .*\n", rb" STARTTLS"),
        (b"f2 STARTTLS\r\n", rb"(?m)^f2 .*\n", rb"(?m)^f2 OK"),
    ),
    "pop3": (
        (b"", LINE, rb"^\+OK"), (b"CAPA\r\n", rb"(?m)^\.\r\n", rb"(?m)^STLS\r"), (b"STLS\r\n", LINE, rb"^\+OK"),
    ),
    "ftp": ((b"", NUMBERED, rb"^220"), (b"AUTH TLS\r\n", NUMBERED, rb"^234")),
    "postgres": ((bytes.fromhex("0000000804d2162f"), rb"[A-Z]", rb"^S"),),
    # The second byte of the flags, behind a version of six bytes; flag 8 is TLS. Only the greeting is waited for.
    "mysql": ((b"", rb"(?s)^.{4}\xff.*d|^.{30,}", rb"(?s)^.{4}\x0a.{6}\0.{13}.[\x08\x88\xff]"),),
    "ldap": (
        (bytes.fromhex("301d02010177188016") + b"1.3.6.1.4.1.1466.20037", rb"(?s).{14}", rb"(?s)\x78.*\x0a\x01\0"),
    ),
    "xmpp": (
        (
            b"<stream:stream version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            rb"</stream:features>", rb"<starttls ",
        ),
        (b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", rb"/>", rb"^<proceed "),
    ),
}
"""What is said before TLS, where each answer ends, and what must be in it for the next thing to be said."""
MYSQL_REQUEST = bytes.fromhex("20000001008a0000000000012d") + bytes(23)


def upgrade(sock: socket.socket, scheme: str) -> dict[str, Any]:
    heard, data, extra = b"", b"", b""
    try:
        for say, end, wanted in UPGRADES[scheme]:
            sock.sendall(say)
            data = b""
            while (whole := re.search(end, data)) is None:
                chunk = sock.recv(4096)
                if not chunk:
                    return {"ending": "closed", "text": (heard + data).decode("latin-1"), "extra": 0}
                data += chunk
            heard += data
            extra = b"" if scheme == "mysql" else data[whole.end() :]
            if not re.search(wanted, data):
                return {"ending": "refused", "text": heard.decode("latin-1"), "extra": 0}
    except TimeoutError:
        return {"ending": "silent", "text": (heard + data).decode("latin-1"), "extra": 0}
    sock.settimeout(LIFE_TIMEOUT_S)
    with contextlib.suppress(TimeoutError):
        extra += sock.recv(4096)
    sock.settimeout(TALK_TIMEOUT_S)
    if scheme == "mysql":
        sock.sendall(MYSQL_REQUEST)
    return {"ending": "agreed", "text": heard.decode("latin-1"), "extra": len(extra)}


def error_queue(sock: socket.socket, target: str) -> dict[str, Any] | None:
    try:
        _, ancillary, _, _ = sock.recvmsg(512, 512, MSG_ERRQUEUE)
    except OSError:
        return None
    data = ancillary[0][2]
    _, _, kind, code, *_ = EXTENDED_ERROR.unpack_from(data)
    raw = data[24:40] if ":" in target else data[20:24]
    sender = str(ipaddress.ip_address(raw))
    own = sender == sock.getsockname()[0]
    return {"type": kind, "code": code, "from": "self" if own else "target" if sender == target else sender}


def exchange(sock: socket.socket | ssl.SSLSocket, request: bytes, start: float) -> dict[str, Any]:
    data, first_ms, last_ms, ending = b"", None, None, "silent"
    try:
        if request:
            sock.sendall(request)
        while True:
            chunk = sock.recv(65536)
            if not chunk:
                ending = "closed"
                break
            last_ms = (time.monotonic() - start) * 1000
            first_ms = first_ms or last_ms
            data += chunk
            if not request or complete(data):
                ending = "whole"
                break
    except TimeoutError:
        pass
    except ConnectionResetError:
        ending = "reset"
    except ssl.SSLEOFError:
        ending = "closed"
    except OSError as error:
        ending = os.strerror(error.errno or 0)
    text = data[:200].decode("latin-1")
    return {"text": text, "bytes": len(data), "first_ms": first_ms, "last_ms": last_ms, "ending": ending}


def complete(data: bytes) -> bool:
    head, mark, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    sizes = [line.split(b":")[1] for line in lines if line.startswith(b"content-length:")]
    return bool(mark) and bool(sizes) and len(body) >= int(sizes[0])


def handshake(
    sock: socket.socket, name: str, ca_file: str, request: bytes | None, alpn: list[str] | None = None,
    change: Callable[[ssl.SSLContext], None] | None = None,
) -> dict[str, Any]:
    """A handshake, and what was heard of it: whether a client certificate was asked for, the last alert."""
    context = ssl.create_default_context(cafile=ca_file)
    # A server of an old version is there to be seen as well.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    heard: dict[str, Any] = {"asked": False, "alert": None}

    def hear(_: object, way: str, __: object, kind: int, message: int, ___: bytes) -> None:
        if way == "read" and kind == TLS_ALERT and message:
            heard["alert"] = int(message)
        if way == "read" and kind == TLS_HANDSHAKE and message == CERTIFICATE_REQUEST:
            heard["asked"] = True

    if change is not None:
        change(context)
    context._msg_callback = hear  # type: ignore[attr-defined]  # the library has no public way to hear messages
    # What `hear` notes comes last: it goes on hearing for as long as there is a connection.
    return {**shake(sock, context, name, request, alpn), **heard}


def shake(
    sock: socket.socket, context: ssl.SSLContext, name: str, request: bytes | None, alpn: list[str] | None
) -> dict[str, Any]:
    """Handshake over memory, so that the bytes the server sent are known whatever becomes of them."""
    # Whatever OpenSSL this Python has: without a post-quantum share the hello fits into a segment.
    context.set_ecdh_curve("prime256v1")
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name or None)
    start = time.monotonic()
    heard = b""
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return {"ending": "verify", "verify_code": error.verify_code}
        except ssl.SSLError:
            return {"ending": "refused", "first": heard[:16].hex()}
        try:
            sock.sendall(outgoing.read())
            if tls.version() and not incoming.pending and handshake_done(tls):
                break
            chunk = sock.recv(65536)
        except TimeoutError:
            return {"ending": "silent", "bytes": len(heard)}
        except (ConnectionResetError, BrokenPipeError):
            return {"ending": "reset", "bytes": len(heard)}
        if not chunk:
            return {"ending": "closed", "bytes": len(heard)}
        heard += chunk
        incoming.write(chunk)
    seen: dict[str, Any] = {"ending": "done", "ms": (time.monotonic() - start) * 1000}
    seen["version"] = tls.version()
    # Private until Python 3.13 (bpo-18233); a C extension, of which mypy knows nothing.
    inner: Any = getattr(tls, "_sslobj")  # noqa: B009  # as above
    seen["presented"] = certificates(inner.get_unverified_chain())
    seen["path"] = certificates(inner.get_verified_chain())
    if request is None:
        # In TLS 1.3 the server may yet say no; most say nothing.
        sock.settimeout(LIFE_TIMEOUT_S)
    seen["after" if request is None else "answer"] = exchange_over(tls, sock, incoming, outgoing, request or b"")
    return seen


def certificates(chain: list[Any] | None) -> list[dict[str, Any]]:
    """Names, end and bytes of each, read by Python's own OpenSSL."""
    return [
        {
            "subject": one.get_info()["subject"],
            "issuer": one.get_info()["issuer"],
            "days_left": (ssl.cert_time_to_seconds(one.get_info()["notAfter"]) - time.time()) / 86400,
            "der": one.public_bytes(_ssl.ENCODING_DER).hex(),
        }
        for one in chain or ()
    ]


def handshake_done(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLError:
        return False
    return True


def exchange_over(
    tls: ssl.SSLObject, sock: socket.socket, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, request: bytes
) -> dict[str, Any]:
    class Stream:
        def sendall(self, data: bytes) -> None:
            tls.write(data)
            sock.sendall(outgoing.read())

        def recv(self, size: int) -> bytes:
            while True:
                try:
                    return tls.read(size)
                except ssl.SSLWantReadError:
                    chunk = sock.recv(size)
                    if not chunk:
                        return b""
                    incoming.write(chunk)
                except ssl.SSLZeroReturnError:
                    return b""

    return exchange(Stream(), request, time.monotonic())  # type: ignore[arg-type]  # it has the two methods used


def main() -> None:
    ca_file, resolver = sys.argv[1], sys.argv[2]
    targets = [json.loads(line) for line in sys.stdin]
    with ThreadPoolExecutor(len(targets)) as pool:
        seen = list(pool.map(lambda fields: observe(fields, resolver, ca_file), targets))
    json.dump({t["labels"]["case"]: s for t, s in zip(targets, seen, strict=True)}, sys.stdout)


if __name__ == "__main__":
    main()
