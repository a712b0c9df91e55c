"""The ClientHello: what is offered, and the same offer at an exact length.

pyOpenSSL has no word for the padding extension (RFC 7685), so a hello is filled up with names of protocols that do
not exist (ALPN, RFC 7301). Servers choose among the names that they know and pass over all others.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from fleetprobe.net.handshake import Hello

_READ_BYTES = 64 * 1024
_NAME_BYTES = 255
"""The longest name of a protocol; each has its length before it, in one byte (RFC 7301 §3.1)."""
_TLS13_SUITES = (
    b"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:"
    b"TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"
)
"""All that RFC 8446 §B.4 names; OpenSSL offers the first three of itself."""
_LEAST_PADDING_BYTES = 1 + 3


def connection_for(
    context: SSL.Context, hello: Hello, noted: object, note_nowhere: Callable[[], object]
) -> SSL.Connection:
    """A client about to say this hello; `noted` is what its callbacks write into.

    A padded hello is said once to nobody, to learn how long it is; `note_nowhere` makes what is written into then.
    """
    alpn = [name.encode("ascii") for name in hello.alpn]
    if hello.pad_to_bytes is None:
        return _begin(context, hello, noted, alpn)
    bare = _begin(context, hello, note_nowhere(), alpn + _padding(_LEAST_PADDING_BYTES))
    with suppress(SSL.WantReadError):
        bare.do_handshake()
    missing = hello.pad_to_bytes - len(outgoing(bare))
    return _begin(context, hello, noted, alpn + _padding(_LEAST_PADDING_BYTES + max(0, missing)))


def only_p256(context: SSL.Context) -> None:
    """Offer this one group, and with it no post-quantum share; pyOpenSSL can set no list of several."""
    context.set_tmp_ecdh(ec.SECP256R1())


def every_cipher(context: SSL.Context) -> None:
    """Offer all that the library knows, whatever it is worth."""
    context.set_cipher_list(b"ALL:COMPLEMENTOFALL:COMPLEMENTOFDEFAULT:@SECLEVEL=0")
    context.set_tls13_ciphersuites(_TLS13_SUITES)


def outgoing(connection: SSL.Connection) -> bytes:
    """All that OpenSSL wants sent now."""
    parts: list[bytes] = []
    try:
        while not parts or len(parts[-1]) == _READ_BYTES:  # a shorter one was the rest (BIO_s_mem(3))
            parts.append(connection.bio_read(_READ_BYTES))
    except SSL.WantReadError:
        pass
    return b"".join(parts)


def _begin(context: SSL.Context, hello: Hello, noted: object, alpn: list[bytes]) -> SSL.Connection:
    connection = SSL.Connection(context, None)
    connection.set_app_data(noted)
    connection.set_connect_state()
    connection.request_ocsp()
    if hello.server_name is not None:
        connection.set_tlsext_host_name(hello.server_name.encode("ascii"))
    if alpn:
        connection.set_alpn_protos(alpn)
    return connection


def _padding(total_bytes: int) -> list[bytes]:
    """Names, no two alike, that take exactly so many bytes with their lengths; at least four."""
    names: list[bytes] = []
    while total_bytes:
        taken = min(total_bytes, 1 + _NAME_BYTES)
        if 0 < total_bytes - taken < _LEAST_PADDING_BYTES:
            taken -= _LEAST_PADDING_BYTES
        names.append(b"%0*d" % (taken - 1, len(names)))
        total_bytes -= taken
    return names
