"""What the zoo's servers read: chains and keys, bundles of trust, one nginx.conf."""

from __future__ import annotations

import json
from pathlib import Path

from tests.zoo.book import Asyncio, Book, Nginx, OpenSsl, Script, Server
from tests.zoo.mint import key_pem, pem

INVENTORY, PLAN, NGINX_CONF = "zoo.jsonl", "plan.json", "nginx.conf"


def write_files(book: Book, directory: Path) -> None:
    """All files, the inventory among them, under a directory that is nobody else's."""
    for name, anchors in book.bundles.items():
        (directory / f"{name}.pem").write_bytes(pem(*anchors))
    for server in book.servers:
        if server.key is not None:
            file = file_of(server, directory)
            file.touch(mode=0o600)
            file.write_bytes(pem(*server.presents) + key_pem(server.key))
            chain_of(server, directory).write_bytes(pem(*server.presents[1:]))
    for name, staple in book.staples.items():
        (directory / f"{name}.ocsp").write_bytes(staple)
    lines = [json.dumps(_entry(server)) for server in book.servers]
    (directory / INVENTORY).write_text("\n".join(lines) + "\n", encoding="ascii")
    (directory / NGINX_CONF).write_text(_nginx_conf(book, directory))
    (directory / PLAN).write_text(json.dumps(_plan(book, directory)))


def file_of(server: Server, directory: Path) -> Path:
    """Leaf, what is sent behind it, and the key."""
    return directory / f"{server.name}.pem"


def chain_of(server: Server, directory: Path) -> Path:
    """What is sent behind the leaf."""
    return directory / f"{server.name}-chain.pem"


def openssl_command(server: Server, directory: Path, program: str) -> list[str]:
    """`openssl s_server` that answers HTTP; the certificates are sent as they are (s_server(1))."""
    assert isinstance(server.player, OpenSsl)
    file = str(file_of(server, directory))
    address = f"[{server.address}]" if ":" in server.address else server.address
    chain = ["-cert_chain", str(chain_of(server, directory))] if len(server.presents) > 1 else []
    return [
        program, "s_server", "-accept", f"{address}:{server.port}", "-cert", file, "-key", file, *chain, "-www",
        "-quiet", *(_filled(one, server, directory) for one in server.player.arguments),
    ]


def _entry(server: Server) -> dict[str, object]:
    trust = {"ca_file": f"{server.trust}.pem"} if len(server.stores) == 1 else {"trust": ",".join(server.stores)}
    if server.target.startswith("http://"):
        trust = {}
    return {"target": server.target, **server.fields, **trust, "labels": {"case": server.name}}


def _nginx_conf(book: Book, directory: Path) -> str:
    """One process without a master; everything it writes lies under the directory."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"  {kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    blocks = "".join(_block(server, directory) for server in book.servers if isinstance(server.player, Nginx))
    return (
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log {directory}/error.log warn;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{\n  access_log off;\n{temporary}{blocks}}}\n"
    )


def _block(server: Server, directory: Path) -> str:
    assert isinstance(server.player, Nginx)
    address = f"[{server.address}]" if ":" in server.address else server.address
    listen = f"listen {address}:{server.port} ssl"
    lines = server.player.lines
    versions = [] if any("ssl_protocols" in line for line in lines) else ["ssl_protocols TLSv1.2 TLSv1.3"]
    own = [listen, "ssl_certificate {file}", "ssl_certificate_key {file}", *versions, *lines]
    if server.player.beside:
        own.append(f"server_name {server.name.replace('_', '-')}.zoo.test")
    # The first one of several is for whoever asks for no name of the others.
    blocks = [(listen, *server.player.beside), own] if server.player.beside else [own]
    texts = ("".join(f"    {_filled(line, server, directory)};\n" for line in block) for block in blocks)
    return "".join(f"  server {{\n{text}    location / {{ return 200 zoo; }}\n  }}\n" for text in texts)


def _filled(text: str, server: Server, directory: Path) -> str:
    staple = directory / f"{server.name}.ocsp"
    return text.format(file=file_of(server, directory), authority=directory / "root.pem", staple=staple)


def _plan(book: Book, directory: Path) -> list[dict[str, object]]:
    """What the child process that plays the rest has to know."""
    return [
        {
            "address": server.address, "port": server.port, "options": dict(server.player.options),
            "steps": list(server.player.steps) if isinstance(server.player, Script) else None,
            "file": str(file_of(server, directory)) if server.key is not None else None,
            "authority": str(directory / "root.pem"),
        }
        for server in book.servers if isinstance(server.player, Script | Asyncio)
    ]
