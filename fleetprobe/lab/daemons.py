"""The real servers of the lab, where they are installed: configuration files for nginx and dnsmasq."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from fleetprobe.lab.load import DOMAIN
from fleetprobe.lab.pki import authority_file, server_file
from fleetprobe.lab.scenario import ClientCertificate, DnsEntry, Scenario, Server, TlsRules
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
    listens = _listens(server)
    if server.certificate:
        file = server_file(pki, scenario, server)
        listens += f"    ssl_certificate {file};\n    ssl_certificate_key {file};\n"
        listens += "".join(f"    {line};\n" for line in _insisting(server.tls, authority_file(pki)))
    refusing = ""
    if server.tls.named:
        # The first of several on one address is the one for whom no other is named.
        refusing = f"  server {{\n{_listens(server)}    ssl_reject_handshake on;\n  }}\n"
        listens += f"    server_name {' '.join(scenario.certificate_names(server))};\n"
    return f"{refusing}  server {{\n{listens}    location / {{ {server.nginx} }}\n  }}\n"


def _listens(server: Server) -> str:
    tls = " ssl" if server.certificate else ""
    return "".join(f"    listen {f'[{a}]' if ':' in a else a}:{server.port}{tls};\n" for a in server.addresses)


def _insisting(rules: TlsRules, authority: Path) -> Sequence[str]:
    """The rules in the words of nginx, but for `named`, which takes a server of its own (ssl_reject_handshake)."""
    said = []
    if rules.client_certificate is not None:
        how = "optional" if rules.client_certificate is ClientCertificate.WELCOME else "on"
        said += [f"ssl_verify_client {how}", f"ssl_client_certificate {authority}"]
    if rules.version is not None:
        said.append(f"ssl_protocols TLSv{rules.version}")
    if rules.ciphers is not None:
        said.append(f"ssl_ciphers {rules.ciphers}")
    return said


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
