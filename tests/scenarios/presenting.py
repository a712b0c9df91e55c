"""A TLS server on loopback that presents a given chain, and says one thing to whoever asks."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fleetprobe.lab.issue import Issued


def pem(*chain: Issued) -> bytes:
    """Certificates, in the order given."""
    return b"".join(one.certificate.public_bytes(Encoding.PEM) for one in chain)


def key_of(one: Issued) -> bytes:
    """The key of a certificate, in PEM."""
    return one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@contextmanager
def presenting(
    chain: Sequence[Issued], folder: Path, *, address: str = "127.0.0.1", says: bytes = b""
) -> Iterator[int]:
    """Serve; gives the port. Nothing is said where `says` is empty."""
    with serving(pem(*chain), key_of(chain[0]), folder, address=address, says=says) as port:
        yield port


@contextmanager
def serving(
    presented: bytes, key: bytes, folder: Path, *, address: str = "127.0.0.1", says: bytes = b""
) -> Iterator[int]:
    """The same with PEM as it stands in a file."""
    path = folder / hashlib.sha256(presented).hexdigest()
    path.write_bytes(key + presented)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = socket.create_server((address, 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                peer, _ = server.accept()
                peer.settimeout(5)
                with suppress(OSError), context.wrap_socket(peer, server_side=True) as secured:
                    if secured.recv(65536) and says:
                        secured.sendall(says)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
