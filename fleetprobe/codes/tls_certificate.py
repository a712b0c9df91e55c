"""Codes of the certificate itself: dates, names, strength, usage, and what changed since the last look."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import CHAIN_FILE, CHAIN_INSTALLED, HANDSHAKE, handshake, leaf
from fleetprobe.model.verdict import State

_DOWN: Final = "a server that is down (tcp.timeout): it finished a TCP handshake and presented a certificate"
_DATES: Final = leaf("-subject -dates")
_NAMES: Final = leaf("-subject -ext subjectAltName")
_TEXT: Final = leaf("-text")
_VERIFY_NAME: Final = handshake("-verify_hostname {sni}")
_STAPLE: Final = handshake("-status")
_OLD: Final = handshake("-tls1_1 -cipher DEFAULT@SECLEVEL=0")

TLS_CERTIFICATE_CODES: Final = (
    Code(
        name="tls.expired", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="A certificate of the chain is past its last day. The facts name which one and since when.",
        boxes=(Box.SERVER, Box.PROXY, Box.AUTHORITY),
        evidence="The not-after date of the named certificate before the time of the scan.",
        not_this=(
            _DOWN,
            "a network or firewall fault (tcp.reset): TCP and TLS carried every byte of it",
        ),
        could_also_be=("local.clock_skew",),
        fix="Renew the certificate, install it and reload the service; "
        "if it was renewed, the reload is what is missing.",
        confirm=(_DATES, HANDSHAKE, "date -u"),
        fix_commands=(CHAIN_FILE, CHAIN_INSTALLED),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.not_yet_valid", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="A certificate of the chain begins to be valid only later. "
        "The facts name which one and when.",
        boxes=(Box.SERVER, Box.PROXY, Box.AUTHORITY),
        evidence="The not-before date of the named certificate after the time of the scan.",
        not_this=(
            _DOWN,
            "an expired certificate (tls.expired): its time has not come yet",
        ),
        could_also_be=("local.clock_skew",),
        fix="Check the clocks of this machine and of the issuing CA, "
        "or wait; reinstall the old certificate until then.",
        confirm=(_DATES, "date -u"),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.name_mismatch", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The certificate is for other names than the one asked for. The facts list its names.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="The name or address asked for, and the subject alternative names, none of which covers it.",
        not_this=(
            _DOWN,
            "an untrusted chain (tls.untrusted_root): the chain is judged before the name, by itself",
        ),
        could_also_be=("tls.sni_required", "dns.stale"),
        fix="Add the name to the certificate, or correct the name, "
        "the sni or the site the server chooses for it.",
        confirm=(_NAMES, _VERIFY_NAME),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.weak_key", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="A public key in the chain is too short for this client's security level.",
        boxes=(Box.SERVER, Box.AUTHORITY),
        evidence="OpenSSL verify code 66 or 67 with its depth, or key type and bits below the policy.",
        not_this=(
            _DOWN,
            "an untrusted chain (tls.untrusted_root): the key is too weak, whoever signed it",
        ),
        could_also_be=(),
        fix="Reissue the certificate with an RSA key of 2048 bits or more, or an ECDSA key on P-256.",
        confirm=(_TEXT,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.weak_signature", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="A certificate in the chain is signed with a digest "
        "that is no longer safe, such as SHA-1 or MD5.",
        boxes=(Box.SERVER, Box.AUTHORITY),
        evidence="OpenSSL verify code 68 with its depth, or a signature algorithm that the policy bars.",
        not_this=(
            _DOWN,
            "a false signature (tls.bad_signature): it is genuine, and made with a broken digest",
        ),
        could_also_be=(),
        fix="Reissue the certificate with SHA-256 or better; a private CA must change its own setting first.",
        confirm=(_TEXT,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.wrong_usage", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The certificate, or a CA above it, was not issued for use by TLS servers.",
        boxes=(Box.SERVER, Box.AUTHORITY),
        evidence="OpenSSL verify code 26 with its depth, and the key usages the certificate has.",
        not_this=(
            _DOWN,
            "an issuer that may not issue (tls.issuer_not_ca): every issuer is a CA; the purpose is wrong",
        ),
        could_also_be=(),
        fix="Reissue the certificate with extended key usage serverAuth.",
        confirm=(leaf("-ext keyUsage,extendedKeyUsage"),),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.malformed", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="A presented certificate cannot be parsed, or a field in it breaks the encoding rules.",
        boxes=(Box.SERVER, Box.AUTHORITY, Box.INSPECTOR),
        evidence="The parser's error, the position in the chain and the bytes, kept in the evidence.",
        not_this=(
            _DOWN,
            "a server without TLS (tls.not_tls): the handshake messages around it are TLS",
        ),
        could_also_be=(),
        fix="Reissue the certificate with a CA that encodes it by RFC 5280.",
        confirm=(HANDSHAKE, _TEXT),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.revoked", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=False,
        meaning="The CA has revoked a certificate of the chain.",
        boxes=(Box.SERVER, Box.AUTHORITY),
        evidence="A signed and fresh OCSP answer or CRL that lists its serial number, with reason and date.",
        not_this=(
            _DOWN,
            "an expired certificate (tls.expired): its dates may be good; the CA withdrew it",
        ),
        could_also_be=(),
        fix="Get a new certificate with a new key, install it and reload; ask why the old one was revoked.",
        confirm=(_STAPLE, leaf("-serial -ocsp_uri -ext crlDistributionPoints")),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.expiring", severity=Severity.WARN, state=State.OK, osi="L5/6", emitted=True,
        meaning="A certificate of the chain expires soon. The facts name which one and when.",
        boxes=(Box.SERVER, Box.PROXY, Box.AUTHORITY),
        evidence="The nearest not-after date in the whole chain within the warning period.",
        not_this=("an outage (tls.expired): it is valid today",),
        could_also_be=(),
        fix="Renew the named certificate now, and find out why the automatic renewal did not.",
        confirm=(_DATES,),
        proves=("ip", "tcp", "tls"),
    ),
    Code(
        name="tls.legacy_version", severity=Severity.WARN, state=State.OK, osi="L5/6", emitted=True,
        meaning="The server still accepts TLS 1.0 or 1.1, or chose one of them.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="A completed ServerHello with that version.",
        not_this=("a server that is too old (tls.version_unsupported): a connection was agreed",),
        could_also_be=(),
        fix="Turn TLS 1.0 and 1.1 off on the server, once no client needs them.",
        confirm=(_OLD,),
        proves=("ip", "tcp", "tls"),
    ),
    Code(
        name="tls.must_staple", severity=Severity.WARN, state=State.OK, osi="L5/6", emitted=True,
        meaning="The certificate promises a stapled OCSP answer "
        "and the server sends none. Some browsers refuse it.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="The TLS feature extension in the leaf, and a handshake with status request but no staple.",
        not_this=("a revoked certificate (tls.revoked): nothing was said about its status",),
        could_also_be=(),
        fix="Turn OCSP stapling on, or reissue the certificate without must-staple.",
        confirm=(_STAPLE, leaf("-ext tlsfeature")),
        proves=("ip", "tcp", "tls"),
    ),
    Code(
        name="tls.interception_suspected", severity=Severity.WARN, state=State.OK, osi="L5/6", emitted=True,
        meaning="A private CA of this network vouches for a public name: "
        "a box here seems to open the traffic.",
        boxes=(Box.INSPECTOR, Box.OWN),
        evidence="A public name whose leaf is issued by a CA "
        "outside the public roots, alike for several sites: its root is not trusted, or the CA was presented as well.",
        not_this=(
            "a wrong certificate on the server (tls.name_mismatch): the name fits; the issuer is local",
        ),
        could_also_be=("tls.untrusted_root",),
        fix="Compare the leaf from another network; if it differs, "
        "exempt this traffic or trust the box on purpose.",
        confirm=(leaf("-issuer -fingerprint -sha256"), HANDSHAKE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.changed", severity=Severity.INFO, state=State.OK, osi="L5/6", emitted=False,
        meaning="The leaf, its key or its issuer is not the one seen in the earlier run.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="The hashes of the earlier and of the present certificate and key.",
        not_this=("a fault (tls.rejected_by_verifier): the new certificate verifies",),
        could_also_be=("tls.interception_suspected",),
        fix="Check that the change was planned; a renewal looks just so.",
        confirm=(leaf("-subject -issuer -dates -fingerprint -sha256"),),
        proves=("ip", "tcp", "tls"),
    ),
)
