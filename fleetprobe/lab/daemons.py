"""The real servers of the lab, where they are installed: configuration files for nginx and dnsmasq."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fleetprobe.lab.load import DOMAIN
from fleetprobe.lab.pki import server_file
from fleetprobe.lab.scenario import DnsEntry, Scenario, Server
from fleetprobe.lab.topology import AUTHORITY, DNS_PORT, RESOLVER


def by_nginx(server: Server, nginx: str | None) -> bool:
    """Whether this server is played by nginx rather than by our own script."""
    return nginx is not None and server.nginx is not None


def nginx_config(fleet: Sequence[Scenario], directory: Path, pki: Path) -> str:
    """An nginx.conf for every server that wants nginx; all its files lie under `directory`.

    One process without a master, and root as its user: no other user id exists in the lab.
    """
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"  {kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    owned = ((scenario, server) for scenario in fleet for server in scenario.servers if server.nginx)
    blocks = "".join(_nginx_server(scenario, server, pki) for scenario, server in owned)
    return (
        "daemon off;\nmaster_process off;\nuser root;\n"
        f"pid {directory}/nginx.pid;\nerror_log {directory}/error.log warn;\n"
        "events { worker_connections 1024; }\n"
        f"http {{\n  access_log off;\n  default_type text/plain;\n{temporary}{blocks}}}\n"
    )


def _nginx_server(scenario: Scenario, server: Server, pki: Path) -> str:
    tls = " ssl" if server.certificate else ""
    listens = "".join(
        f"    listen {f'[{a}]' if ':' in a else a}:{server.port}{tls};\n" for a in server.addresses
    )
    if server.certificate:
        file = server_file(pki, scenario, server)
        listens += f"    ssl_certificate {file};\n    ssl_certificate_key {file};\n"
    return f"  server {{\n{listens}    location / {{ {server.nginx} }}\n  }}\n"


def dnsmasq_config(entries: Mapping[str, DnsEntry], directory: Path) -> str:
    """A dnsmasq.conf: plain names from a hosts file, all others asked of the Python name server.

    Nothing is cached, so that a slow answer is slow every time.
    """
    lines = [
        "no-resolv", "no-hosts", "no-poll", "bind-interfaces", "cache-size=0", "log-facility=-",
        f"port={DNS_PORT}", f"local=/{DOMAIN}/", f"addn-hosts={directory}/hosts",
        f"pid-file={directory}/dnsmasq.pid",
    ]
    lines += [f"listen-address={address}" for address in RESOLVER]
    lines += [f"server=/{e.name}/{AUTHORITY[0]}#{DNS_PORT}" for e in entries.values() if not e.plain]
    return "\n".join(lines) + "\n"


def dnsmasq_hosts(entries: Mapping[str, DnsEntry]) -> str:
    """The hosts file that goes with `dnsmasq_config`."""
    return "".join(f"{a} {e.name}\n" for e in entries.values() if e.plain for a in e.addresses)
