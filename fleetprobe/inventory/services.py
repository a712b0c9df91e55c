"""The services an inventory may name: usual port, and which fields make sense for each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a target spec may say about one service."""

    port: int | None = None
    """The port meant when none is written; None asks for one."""
    http: bool = False
    """Takes path, host_header and expect_status."""
    tls: bool = False
    """Takes sni, ca_file and trust."""
    body: bool = False
    """Takes expect_body: there is a body or a banner to look into."""


# tls has no usual port on purpose: on 443 the service is https, elsewhere any guess would be wrong.
SERVICES: dict[str, Service] = {
    "tcp": Service(),
    "tls": Service(tls=True),
    "https": Service(port=443, http=True, tls=True, body=True),
    "http": Service(port=80, http=True, body=True),
    "ssh": Service(port=22, body=True),
    "banner": Service(body=True),
    # Plain text first, then TLS over the same connection. Where TLS comes first (465, 636, 990, 993, 995), it is tls.
    "smtp": Service(port=25, tls=True),
    "imap": Service(port=143, tls=True),
    "pop3": Service(port=110, tls=True),
    "ftp": Service(port=21, tls=True),
    "postgres": Service(port=5432, tls=True),
    "mysql": Service(port=3306, tls=True),
    "ldap": Service(port=389, tls=True),
    "xmpp": Service(port=5222, tls=True),
}

# Not 25, 143 and their like: a port alone does not say that TLS is expected there, and many a server has none.
_USUAL = {443: "https", 80: "http", 22: "ssh"}


def usual_service(port: int) -> str:
    """The service a port alone stands for (design §6); `tcp` where nothing is agreed."""
    return _USUAL.get(port, "tcp")
