"""Codes of the certificate chain: whether what was presented leads to a root that this client trusts."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import CHAIN_FILE, CHAIN_INSTALLED, HANDSHAKE, handshake, leaf
from fleetprobe.model.verdict import State

_DOWN: Final = "a server that is down (tcp.timeout): it finished a TCP handshake and presented a chain"
_ISSUER: Final = leaf("-subject -issuer -ext authorityKeyIdentifier")
_STRICT: Final = handshake("-x509_strict")

TLS_CHAIN_CODES: Final = (
    Code(
        name="tls.missing_intermediate", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The server does not send an intermediate certificate that exists. "
        "Clients that have it cached get past it, all others fail.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="The missing issuer, where it was found, the signatures from the leaf up through it, "
        "and OpenSSL's verification of the path with it.",
        not_this=(
            "an untrusted root alone (tls.untrusted_root): a link below the root is missing",
            "a fault of curl or of this client: browsers only hide it, with a cached intermediate",
            _DOWN,
        ),
        could_also_be=(),
        fix="Install the full chain on the server: the leaf first, "
        "then the intermediate that the facts name.",
        confirm=(HANDSHAKE, _ISSUER),
        fix_commands=(CHAIN_FILE, CHAIN_INSTALLED),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.untrusted_root", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The chain is complete and ends in a root that "
        "this client does not trust, often a private CA.",
        boxes=(Box.SERVER, Box.PROXY, Box.OWN, Box.INSPECTOR),
        evidence="A chain as sent, or completed with what other hosts send, "
        "whose last certificate is self-signed and not in the trust store.",
        not_this=(
            "a missing intermediate (tls.missing_intermediate): the chain reaches a root",
            "a self-signed leaf (tls.self_signed): the leaf has an issuer",
            _DOWN,
        ),
        could_also_be=("tls.interception_suspected",),
        fix="Give this client the private CA (ca_file or --ca-file) if it is yours, "
        "else get a publicly trusted one.",
        confirm=(HANDSHAKE, _ISSUER),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.self_signed", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The server's own certificate is signed by itself, so nobody vouches for it.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="OpenSSL verify code 18 at depth 0: "
        "the leaf is its own issuer and is not in the trust store.",
        not_this=(
            "a missing intermediate (tls.missing_intermediate): there is no issuer that could be missing",
            "a private CA (tls.untrusted_root): no CA signed it",
            _DOWN,
        ),
        could_also_be=("tls.interception_suspected",),
        fix="Install a certificate from a CA that clients trust, or name this one as ca_file if it is meant.",
        confirm=(HANDSHAKE, leaf("-subject -issuer -fingerprint -sha256")),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.issuer_unknown", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The issuer of the last certificate sent was "
        "found neither in the chain nor in the trust store.",
        boxes=(Box.SERVER, Box.PROXY, Box.OWN),
        evidence="OpenSSL verify code 2, 20 or 21, and no candidate for the issuer in any place we may look.",
        not_this=(
            "a self-signed leaf (tls.self_signed): the leaf names another issuer",
            "an expired certificate (tls.expired): the chain is what fails; dates are judged separately",
            _DOWN,
        ),
        could_also_be=("tls.missing_intermediate", "tls.untrusted_root"),
        fix="Install the full chain on the server; if it is complete, give this client the private CA.",
        confirm=(HANDSHAKE, _ISSUER),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.bad_signature", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="A certificate in the chain was not signed by the key of the issuer it names.",
        boxes=(Box.SERVER, Box.AUTHORITY, Box.INSPECTOR),
        evidence="OpenSSL verify code 7 with its depth; or no issuer found, "
        "and every presented certificate of the issuer's name checked: none of their keys signed.",
        not_this=(
            "an unknown issuer (tls.issuer_unknown): the issuer was found, its signature does not fit",
            "a missing intermediate (tls.missing_intermediate): a certificate of the issuer's name is there",
        ),
        could_also_be=(),
        fix="Install the intermediate that signed this leaf; "
        "after a CA renews its key, the old one no longer fits.",
        confirm=(HANDSHAKE, _ISSUER),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.issuer_not_ca", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="A certificate that signed another one is not allowed to act as a CA.",
        boxes=(Box.SERVER, Box.AUTHORITY),
        evidence="OpenSSL's invalid-CA or no-certificate-signing error with its depth, "
        "and the certificate kept.",
        not_this=(
            "an unknown issuer (tls.issuer_unknown): the issuer was found and may not issue",
            "a wrong purpose (tls.wrong_usage): the issuer may not issue for any",
        ),
        could_also_be=(),
        fix="Reissue the leaf from a real CA certificate: basicConstraints CA:TRUE and keyCertSign.",
        confirm=(HANDSHAKE,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.path_length", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The chain has more intermediates than a CA in it permits.",
        boxes=(Box.SERVER, Box.AUTHORITY),
        evidence="OpenSSL verify code 25 with its depth, and the pathlen of the CA that limits it.",
        not_this=("a chain too large for the client (tls.chain_oversize): it is a CA that sets this limit",),
        could_also_be=(),
        fix="Issue the leaf from a CA closer to the root, or reissue the CA with a larger pathlen.",
        confirm=(HANDSHAKE,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.name_constraint", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="A CA in the chain may not issue for a name that the leaf carries.",
        boxes=(Box.SERVER, Box.AUTHORITY),
        evidence="OpenSSL verify code 47, 48 or a kindred one, with the constraint and the name it forbids.",
        not_this=(
            "a wrong site (tls.name_mismatch): the name may fit the target; the CA may not certify it",
        ),
        could_also_be=(),
        fix="Issue the leaf from a CA that is permitted to certify these names.",
        confirm=(HANDSHAKE, leaf("-ext subjectAltName")),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.chain_oversize", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The presented chain is larger, longer or dearer to verify than clients accept.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="More than 100 KiB, which OpenSSL does not read; or more than 100 CAs above the leaf "
        "(so many OpenSSL's clients follow, Firefox and rustls 6); or keys and name constraints that would take long.",
        not_this=(
            "a path that loses large packets (mtu.black_hole): the bytes arrived, and too many of them",
        ),
        could_also_be=(),
        fix="Send only the leaf and the intermediates it needs.",
        confirm=(HANDSHAKE,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.rejected_by_verifier", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The verifier rejects the chain for a reason that "
        "has no code of its own yet. The facts name it.",
        boxes=(Box.SERVER, Box.PROXY, Box.AUTHORITY, Box.INSPECTOR),
        evidence="An OpenSSL verify code by name and number, with its depth.",
        not_this=(
            "a closed or filtered port (tcp.timeout): TCP and the exchange of TLS messages worked",
            "a TLS version or cipher fault (tls.alert): a certificate was reached and judged",
        ),
        could_also_be=("tls.pedantic",),
        fix="Look up the verify code in the facts and reissue or reinstall the certificate at that depth.",
        confirm=(HANDSHAKE,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.wrong_order", severity=Severity.WARN, state=State.OK, osi="L5/6", emitted=True,
        meaning="The chain is complete and in the wrong order. Strict clients fail on it.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="The order as sent beside the order of issue.",
        not_this=("a missing intermediate (tls.missing_intermediate): every link is there",),
        could_also_be=(),
        fix="Write the chain file in order: the leaf, then each issuer of the one before.",
        confirm=(HANDSHAKE,),
        fix_commands=(CHAIN_FILE,),
        proves=("ip", "tcp", "tls"),
    ),
    Code(
        name="tls.extra_certs", severity=Severity.INFO, state=State.OK, osi="L5/6", emitted=True,
        meaning="The server sends certificates that belong to no link of its chain.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="Certificates in the presented list that the verified path does not use.",
        not_this=("a broken chain (tls.missing_intermediate): the path it needs is complete",),
        could_also_be=("tls.cross_sign",),
        fix="Remove the unused certificates from the server's chain file.",
        confirm=(HANDSHAKE,),
        fix_commands=(CHAIN_FILE,),
        proves=("ip", "tcp", "tls"),
    ),
    Code(
        name="tls.duplicate_certs", severity=Severity.INFO, state=State.OK, osi="L5/6", emitted=True,
        meaning="The server sends the same certificate more than once.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="Equal SHA-256 hashes in the presented list.",
        not_this=("a broken chain (tls.missing_intermediate): the path it needs is complete",),
        could_also_be=(),
        fix="Remove the repeated certificate from the server's chain file.",
        confirm=(HANDSHAKE,),
        fix_commands=(CHAIN_FILE,),
        proves=("ip", "tcp", "tls"),
    ),
    Code(
        name="tls.root_sent", severity=Severity.INFO, state=State.OK, osi="L5/6", emitted=True,
        meaning="The server sends the root as well. Clients ignore it, and it costs bytes in each handshake.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="A self-signed certificate at the end of the presented list, "
        "which the trust store also holds.",
        not_this=("an untrusted root (tls.untrusted_root): this client trusts it",),
        could_also_be=(),
        fix="Remove the root from the server's chain file.",
        confirm=(HANDSHAKE,),
        fix_commands=(CHAIN_FILE,),
        proves=("ip", "tcp", "tls"),
    ),
    Code(
        name="tls.cross_sign", severity=Severity.INFO, state=State.OK, osi="L5/6", emitted=True,
        meaning="The chain can be built to more than one root through a cross-signed certificate. "
        "Old clients may build the other path.",
        boxes=(Box.SERVER, Box.AUTHORITY),
        evidence="A presented certificate with the subject and key of one in the verified path, "
        "and another issuer.",
        not_this=("a broken chain (tls.untrusted_root): the path that this client builds is trusted",),
        could_also_be=(),
        fix="Check that the path your oldest clients build does not end in an expired or removed root.",
        confirm=(HANDSHAKE,),
        proves=("ip", "tcp", "tls"),
    ),
    Code(
        name="tls.pedantic", severity=Severity.WARN, state=State.OK, osi="L5/6", emitted=True,
        meaning="The chain verifies, and fails the strict reading of RFC 5280 that newer clients turn on.",
        boxes=(Box.AUTHORITY, Box.SERVER),
        evidence="A verification that succeeds as usual and fails "
        "with X509_V_FLAG_X509_STRICT, with its code.",
        not_this=("an untrusted chain (tls.untrusted_root): ordinary clients accept it",),
        could_also_be=(),
        fix="Reissue the certificate at the named depth with "
        "the extensions it lacks, such as key identifiers.",
        confirm=(_STRICT,),
        proves=("ip", "tcp", "tls"),
    ),
)
