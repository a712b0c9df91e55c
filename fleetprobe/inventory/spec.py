"""One target spec with its fields becomes one target, many targets of one network, or a bad line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fleetprobe.inventory.fields import Options, canonical_path, read_options
from fleetprobe.inventory.hosts import IPV4, canonical_host
from fleetprobe.inventory.networks import Addresses, address_range, network, split_network
from fleetprobe.inventory.ports import one_port, port_list
from fleetprobe.inventory.refused import Refused, bad_line, refuse_controls, shown
from fleetprobe.inventory.row import Row
from fleetprobe.inventory.services import SERVICES, usual_service
from fleetprobe.model.target import BadLine, Entry, Target

SPEC_CHARS = 4096

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NO_SECRETS = "a target holds no user name or password; take out everything up to the @"


def parse(
    spec: str, fields: Mapping[str, object], source: str, *, raw: str | None = None, base: str = ""
) -> Target | BadLine:
    """
    The one target that `spec` and `fields` name, or the `BadLine` that says why there is none.

    Specs: `host`, `host:port`, `[v6]:port`, a bare IPv6 address, `scheme://host[:port][/path]`. A spec that
    names several targets is a `BadLine` here; `expand` takes those. Never raises. `raw` is the line as read
    (the spec when not given), `base` the directory of the inventory file.
    """
    row = Row(spec=spec, fields=fields, source=source, raw=spec if raw is None else raw)
    plan = _plan(row, base)
    if isinstance(plan, BadLine):
        return plan
    if plan.count != 1:
        return bad_line(source, row.raw, f"the line names {plan.count} targets where one is wanted")
    return next(plan.targets())


def expand(row: Row, base: str, room: int) -> Iterator[Entry]:
    """
    The targets of one line, one by one: also `192.0.2.0/24:443`, `192.0.2.1-50:443` and `host:22,443`.

    A line that names more than `room` targets is one `BadLine`; nothing is counted by enumerating.
    """
    plain = _plain_ipv4(row) if room > 0 else None
    if plain is not None:
        yield plain
        return
    plan = _plan(row, base)
    if isinstance(plan, BadLine):
        yield plan
    elif plan.count > room:
        reason = f"the line names {plan.count} targets and the limit leaves room for {room}; narrow it down"
        yield bad_line(row.source, row.raw, reason)
    else:
        yield from plan.targets()


def _plain_ipv4(row: Row) -> Target | None:
    """The commonest line of all, an IPv4 address and a port and nothing else, without taking it apart twice."""
    found = _IPV4_AND_PORT.fullmatch(row.spec) if not row.fields and row.recorded_id is None else None
    if found is None:
        return None
    service, host, port = found[1], found[2], int(found[3])
    if port > 65535 or (service is not None and service not in SERVICES):
        return None
    return Target(service=service or usual_service(port), host=host, port=port, source=row.source)


_IPV4_AND_PORT = re.compile(rf"(?:([a-z]+)://)?({IPV4}):([1-9][0-9]{{0,4}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A line fully checked: each of its hosts on each of its ports is a target."""

    hosts: tuple[str, ...] | Addresses
    ports: tuple[int, ...]
    service: str | None
    """None: the usual one of each port."""
    path: str | None
    options: Options
    source: str

    @property
    def count(self) -> int:
        return _host_count(self.hosts) * len(self.ports)

    def targets(self) -> Iterator[Target]:
        return (self.target(host, port) for host in self.hosts for port in self.ports)

    def target(self, host: str, port: int) -> Target:
        options = self.options
        return Target(
            service=self.service or usual_service(port), host=host, port=port, path=self.path,
            sni=options.sni, host_header=options.host_header, connect_to=options.connect_to,
            expect=options.expect, ca_file=options.ca_file, trust=options.trust,
            timeout_s=options.timeout_s, labels=options.labels, source=self.source,
        )


def _host_count(hosts: tuple[str, ...] | Addresses) -> int:
    return hosts.count if isinstance(hosts, Addresses) else len(hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A spec taken apart; nothing is filled in yet."""

    hosts: tuple[str, ...] | Addresses
    ports: tuple[int, ...] = ()
    service: str | None = None
    path: str | None = None


def _plan(row: Row, base: str) -> _Plan | BadLine:
    try:
        parts = _split(row.spec)
        options = read_options(row.fields, base)
        service, path = _agreed(parts, options)
        ports = _ports(parts, options, service)
        plan = _Plan(
            hosts=parts.hosts, ports=ports, service=service, path=path, options=options, source=row.source
        )
        _refuse_misfits(plan)
        _refuse_other_identity(plan, row.recorded_id)
    except Refused as refusal:
        return bad_line(row.source, row.raw, str(refusal))
    return plan


def _split(spec: str) -> _Parts:
    if not spec:
        raise Refused("there is no target; write host:port or a URL")
    if len(spec) > SPEC_CHARS:
        raise Refused(f"the target has {len(spec)} characters; at most {SPEC_CHARS} are read")
    refuse_controls("the target", spec)
    if spec.split() != [spec]:
        raise Refused(f"target {shown(spec)} holds white space; take it out")
    scheme = _SCHEME.match(spec)
    return _split_url(scheme[1].lower(), spec[scheme.end() :]) if scheme else _split_plain(spec)


def _split_url(service: str, rest: str) -> _Parts:
    if service not in SERVICES:
        raise Refused(f"unknown scheme {shown(service)}; known are {', '.join(SERVICES)}")
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    authority, tail = rest[:end], rest[end:]
    if "@" in authority:
        raise Refused(_NO_SECRETS)
    try:
        # In a URL the % before a zone is written as %25 (RFC 6874 §2).
        host, port = _split_authority(authority.replace("%25", "%", 1) if authority.startswith("[") else authority)
        if address_range(host) is not None:
            raise Refused(f"range {shown(host)} takes no scheme; give the field service={service} instead")
        parts = _Parts(hosts=(canonical_host(host),), ports=(one_port(port),) if port is not None else ())
    except Refused:
        # A password with a slash in it ends the authority early, and the reason would quote its first half.
        if "@" in tail:
            raise Refused(_NO_SECRETS) from None
        raise
    path = canonical_path(tail if tail.startswith("/") else f"/{tail}") if tail else None
    if path is not None and not SERVICES[service].http:
        raise Refused(f"service {service} takes no path; drop {shown(path)}")
    return _Parts(hosts=parts.hosts, ports=parts.ports, service=service, path=path)


def _split_plain(spec: str) -> _Parts:
    if "@" in spec:
        raise Refused(_NO_SECRETS)
    block = split_network(spec)
    if block:
        return _Parts(hosts=network(block[0]), ports=_plain_ports(block[1]))
    if any(mark in spec for mark in "/?#\\"):
        raise Refused(f"{shown(spec)} has a path but no scheme; write one like https://host:port/path")
    host, port = _split_authority(spec)
    hosts = address_range(host) or (canonical_host(host),)
    return _Parts(hosts=hosts, ports=_plain_ports(port))


def _plain_ports(text: str | None) -> tuple[int, ...]:
    return () if text is None else port_list(text)


def _split_authority(text: str) -> tuple[str, str | None]:
    """`host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address as (host, port text or None)."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or ":" not in host or (rest and not rest.startswith(":")):
            raise Refused(f"{shown(text)} has brackets not around an IPv6 address; write [address]:port")
        return host, rest[1:] if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def _agreed(parts: _Parts, options: Options) -> tuple[str | None, str | None]:
    """Service and path, each said at most once or twice alike."""
    if parts.service and options.service and parts.service != options.service:
        raise Refused(f"the scheme says {parts.service}, the field service {options.service}; keep one")
    if parts.path and options.path and parts.path != options.path:
        raise Refused("the target has one path and the field path another; keep one")
    return parts.service or options.service, parts.path or options.path


def _ports(parts: _Parts, options: Options, service: str | None) -> tuple[int, ...]:
    if parts.ports and options.ports and parts.ports != options.ports:
        raise Refused("the target has one port and the field port another; keep one")
    ports = parts.ports or options.ports
    if ports:
        return ports
    usual = SERVICES[service].port if service else None
    if usual is not None:
        return (usual,)
    hint = _missing_port_hint(parts)
    raise Refused(f"service {service} has no usual port; {hint}" if service else f"no port is given; {hint}")


def _missing_port_hint(parts: _Parts) -> str:
    host = next(iter(parts.hosts))
    if isinstance(parts.hosts, Addresses):
        return "add :port behind the network or range"
    if ":" in host:
        return f"write [{host}]:443, since without brackets everything is address"
    return f"add it, as in {shown(host)[1:-1]}:443"


def _refuse_misfits(plan: _Plan) -> None:
    """An expectation the ladder would never look at must not pass for one that was met."""
    options, expect = plan.options, plan.options.expect
    port_of_service = {plan.service or usual_service(port): port for port in plan.ports}
    for service, port in port_of_service.items():
        offer = SERVICES[service]
        for name, given, fits in (
            ("path", plan.path, offer.http),
            ("host_header", options.host_header, offer.http),
            ("expect_status", expect.status, offer.http),
            ("sni", options.sni, offer.tls),
            ("ca_file", options.ca_file, offer.tls),
            ("trust", options.trust or None, offer.tls),
            ("expect_body", expect.body, offer.body),
        ):
            if given is not None and not fits:
                raise Refused(
                    f"field {name} means nothing to service {service} (port {port});"
                    " drop it or name the service"
                )


def _refuse_other_identity(plan: _Plan, recorded_id: str | None) -> None:
    """Records before schema 1.1 keep no sni, host_header or connect_to; asking without is another question."""
    if recorded_id is None or (plan.count == 1 and next(plan.targets()).target_id == recorded_id):
        return
    raise Refused("the record does not hold all that its target was made of; scan that from its own inventory")
