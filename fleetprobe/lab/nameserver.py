"""The lab's own name server: answers, errors, delays and silences, all as the scenarios ask for them."""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from fleetprobe.lab.load import DOMAIN
from fleetprobe.lab.scenario import DnsEntry, Scenario

_TTL_S = 5
_MAX_CHAIN = 8
_TCP_IDLE_S = 10.0
_SOA = f"ns.{DOMAIN}. hostmaster.{DOMAIN}. 1 3600 600 86400 {_TTL_S}"


def entries_of(fleet: Iterable[Scenario]) -> dict[str, DnsEntry]:
    """Every name of a fleet's scenarios, keyed by name without the trailing dot."""
    return {entry.name: entry for scenario in fleet for entry in scenario.dns}


def answer(
    query: dns.message.Message, entries: Mapping[str, DnsEntry]
) -> tuple[dns.message.Message, float] | None:
    """The response to a query and the seconds to wait before sending it; None for a name kept silent."""
    question = query.question[0]
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    name = _text(question.name)
    rcode, delay_s, seen = "NOERROR", 0.0, set[str]()
    while True:
        entry = entries.get(name)
        if entry is None:
            rcode = "NOERROR" if name in (DOMAIN, f"ns.{DOMAIN}") else "NXDOMAIN"
            break
        if entry.silent or entry.ignores == dns.rdatatype.to_text(question.rdtype):
            return None
        rcode, delay_s = entry.rcode, delay_s + entry.delay_s
        if entry.cname is None:
            response.answer += _addresses(entry, question.rdtype)
            break
        response.answer.append(dns.rrset.from_text(f"{name}.", _TTL_S, "IN", "CNAME", f"{entry.cname}."))
        seen.add(name)
        if entry.cname in seen or len(seen) >= _MAX_CHAIN or question.rdtype == dns.rdatatype.CNAME:
            break
        name = entry.cname
    response.set_rcode(dns.rcode.from_text(rcode))
    if rcode in ("NOERROR", "NXDOMAIN") and not any(r.rdtype == question.rdtype for r in response.answer):
        response.authority.append(dns.rrset.from_text(f"{DOMAIN}.", _TTL_S, "IN", "SOA", _SOA))
    return response, delay_s


def _text(name: dns.name.Name) -> str:
    return name.canonicalize().to_text(omit_final_dot=True)


def _addresses(entry: DnsEntry, rdtype: dns.rdatatype.RdataType) -> list[dns.rrset.RRset]:
    version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(rdtype)
    texts = [a for a in entry.addresses if ipaddress.ip_address(a).version == version]
    if not texts or entry.rcode != "NOERROR":
        return []
    return [dns.rrset.from_text(f"{entry.name}.", _TTL_S, "IN", rdtype, *texts)]


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, entries: Mapping[str, DnsEntry]) -> None:
        self._entries = entries
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        found = reply(data, self._entries, stream=False)
        if found is not None and self._transport is not None:
            wire, delay_s = found
            self._loop.call_later(delay_s, self._transport.sendto, wire, addr)


def reply(data: bytes, entries: Mapping[str, DnsEntry], *, stream: bool) -> tuple[bytes, float] | None:
    """The answer on the wire to a question on the wire, and the seconds to wait; None: say nothing."""
    try:
        query = dns.message.from_wire(data)
    except dns.exception.DNSException:
        return None
    if query.flags & dns.flags.QR or len(query.question) != 1:
        return None
    found = answer(query, entries)
    if found is None:
        return None
    response, delay_s = found
    entry = entries.get(_text(query.question[0].name))
    if entry is not None and entry.truncated and not stream:
        response.flags |= dns.flags.TC
        response.answer.clear()
    return response.to_wire(), delay_s


async def serve_names(addresses: Sequence[str], port: int, entries: Mapping[str, DnsEntry]) -> None:
    """Listen on every address over UDP and TCP and return; serving goes on in the running loop."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TCP_IDLE_S):
                while True:
                    (size_bytes,) = struct.unpack("!H", await reader.readexactly(2))
                    found = reply(await reader.readexactly(size_bytes), entries, stream=True)
                    if found is not None:
                        await asyncio.sleep(found[1])
                        writer.write(struct.pack("!H", len(found[0])) + found[0])
                        await writer.drain()
        except (OSError, EOFError, TimeoutError):
            pass  # The client left, or has had its time.
        finally:
            writer.close()

    loop = asyncio.get_running_loop()
    for address in addresses:
        await loop.create_datagram_endpoint(lambda: _Datagrams(entries), local_addr=(address, port))
        await asyncio.start_server(stream, address, port)
