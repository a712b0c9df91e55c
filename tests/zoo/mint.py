"""Certificates of every kind, good and bad: what cryptography refuses to sign is put together here by hand."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Life = tuple[datetime, datetime]
"""Not before, not after."""

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
YOUNG: Life = (NOW - 30 * DAY, NOW + 90 * DAY)
"""When an ordinary leaf is valid."""
LONG: Life = (NOW - 60 * DAY, NOW + 365 * DAY)
"""When an ordinary authority is valid."""
PAST: Life = (NOW - 60 * DAY, NOW - 3 * DAY)
FUTURE: Life = (NOW + 3 * DAY, NOW + 90 * DAY)

_SHA256_RSA = bytes.fromhex("06092a864886f70d01010b")
_RSA_OIDS = {"sha1": bytes.fromhex("06092a864886f70d010105"), "md5": bytes.fromhex("06092a864886f70d010104")}
"""Object identifiers of RFC 8017 §A.2.4, as long as each other."""
_BROKEN_HASHES: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "md5": hashes.MD5()}
_STAND_IN = x509.ObjectIdentifier("2.5.29.99")
"""Stands where an extension is to be repeated, until the certificate is signed again."""
_UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.55555.7")


@dataclass(frozen=True, slots=True)
class Minted:
    """A certificate as DER and its key."""

    der: bytes
    key: Key

    @property
    def certificate(self) -> x509.Certificate:
        """Parsed anew each time: lazily, so that a broken field is nobody's trouble here."""
        return x509.load_der_x509_certificate(self.der)

    @property
    def sha256(self) -> str:
        """Its fingerprint, upper-case hex."""
        return hashlib.sha256(self.der).hexdigest().upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a certificate is to say. The defaults are those of a good server certificate."""

    name: str | None
    """Common name; None for an empty subject."""
    hosts: Sequence[str] = ()
    addresses: Sequence[str] = ()
    life: Life = YOUNG
    key: Key | None = None
    """None: a new one on P-256."""
    authority: bool = False
    path_length: int | None = None
    permitted: Sequence[str] = ()
    excluded: Sequence[str] = ()
    signs: bool | None = None
    """keyCertSign; None: as befits what it is."""
    key_usage: bool = True
    purposes: Sequence[x509.ObjectIdentifier] | None = None
    """None: serverAuth for a server, nothing for an authority. An empty list: no such extension."""
    key_ids: bool = True
    """Subject and authority key identifiers (RFC 5280 §4.2.1.1, §4.2.1.2)."""
    basic_critical: bool = True
    staple: bool = False
    """Promise a stapled OCSP answer (RFC 7633)."""
    aia: str | None = None
    """Where the issuer's certificate could be fetched (RFC 5280 §4.2.2.1)."""
    hash_name: str = "sha256"
    further: Sequence[x509.Extension[x509.UnrecognizedExtension]] = field(default_factory=tuple)
    """Extensions of raw bytes."""


def mint(wish: Wish, issuer: Minted | None = None) -> Minted:
    """The certificate as wished, signed by the issuer or itself."""
    key = wish.key or ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    above = issuer.certificate.subject if issuer else _subject(wish)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(wish)).issuer_name(above).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(wish.life[0]).not_valid_after(wish.life[1])
    )
    for extension, critical in _extensions(wish, key, issuer):
        builder = builder.add_extension(extension, critical=critical)
    der = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    made = Minted(der, key)
    return _by_a_broken_hash(made, signer, wish.hash_name) if wish.hash_name in _RSA_OIDS else made


def unknown_critical() -> x509.Extension[x509.UnrecognizedExtension]:
    """An extension that nobody knows and that must not be passed over."""
    return x509.Extension(_UNKNOWN, True, x509.UnrecognizedExtension(_UNKNOWN, b"\x05\x00"))


def unreadable_names() -> x509.Extension[x509.UnrecognizedExtension]:
    """Subject alternative names that are not a list of names."""
    kind = x509.SubjectAlternativeName.oid
    return x509.Extension(kind, False, x509.UnrecognizedExtension(kind, b"\x30\x05\x82\x03a"))


def names_twice(wish: Wish, issuer: Minted) -> Minted:
    """A server certificate that holds its alternative names two times, which RFC 5280 §4.2 forbids."""
    value = x509.SubjectAlternativeName([x509.DNSName(host) for host in wish.hosts]).public_bytes()
    again = x509.Extension(_STAND_IN, False, x509.UnrecognizedExtension(_STAND_IN, value))
    made = mint(Wish(name=wish.name, hosts=wish.hosts, further=(again,)), issuer)
    tbs = made.certificate.tbs_certificate_bytes.replace(_oid(_STAND_IN), _oid(x509.SubjectAlternativeName.oid))
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256 (RFC 5758 §3.2)
    return Minted(_certificate(tbs, algorithm, issuer.key.sign(tbs, ec.ECDSA(hashes.SHA256()))), made.key)


def staple(made: Minted, issuer: Minted) -> bytes:
    """An OCSP answer (RFC 6960) that says the certificate is good, as a server staples it."""
    good, since, until = ocsp.OCSPCertStatus.GOOD, NOW - DAY, NOW + DAY
    builder = ocsp.OCSPResponseBuilder().add_response(
        made.certificate, issuer.certificate, hashes.SHA256(), good, since, until, None, None,
    )
    signed = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate).sign(issuer.key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def forged(made: Minted) -> Minted:
    """The same with a signature that is wrong by one bit."""
    return Minted(made.der[:-1] + bytes([made.der[-1] ^ 1]), made.key)


def pem(*chain: Minted) -> bytes:
    """Certificates in the order given."""
    return b"".join(
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(one.der) + b"-----END CERTIFICATE-----\n" for one in chain
    )


def key_pem(key: Key) -> bytes:
    """A private key, unencrypted."""
    form, secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, secret)


def _subject(wish: Wish) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wish.name)] if wish.name is not None else [])


def _extensions(wish: Wish, key: Key, issuer: Minted | None) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=wish.authority, path_length=wish.path_length), wish.basic_critical)
    ]
    if wish.key_usage:
        found.append((_usage(wish), True))
    if wish.key_ids:
        found.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        found.append((_issuer_key_id(key, issuer), False))
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in wish.hosts]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in wish.addresses]
    if names:
        found.append((x509.SubjectAlternativeName(names), wish.name is None))
    purposes = wish.purposes
    if purposes is None:
        purposes = () if wish.authority else (ExtendedKeyUsageOID.SERVER_AUTH,)
    if purposes:
        found.append((x509.ExtendedKeyUsage(purposes), False))
    if wish.permitted or wish.excluded:
        permitted, excluded = ([x509.DNSName(one) for one in side] or None for side in (wish.permitted, wish.excluded))
        found.append((x509.NameConstraints(permitted, excluded), True))
    if wish.staple:
        found.append((x509.TLSFeature([x509.TLSFeatureType.status_request]), False))
    if wish.aia is not None:
        place = x509.UniformResourceIdentifier(wish.aia)
        issuers = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
        found.append((x509.AuthorityInformationAccess([issuers]), False))
    return [*found, *((one.value, one.critical) for one in wish.further)]


def _usage(wish: Wish) -> x509.KeyUsage:
    signs = wish.authority if wish.signs is None else wish.signs
    return x509.KeyUsage(
        digital_signature=not wish.authority, content_commitment=False,
        key_encipherment=not wish.authority and isinstance(wish.key, rsa.RSAPrivateKey),
        data_encipherment=False, key_agreement=False, key_cert_sign=signs, crl_sign=wish.authority,
        encipher_only=False, decipher_only=False,
    )


def _issuer_key_id(key: Key, issuer: Minted | None) -> x509.AuthorityKeyIdentifier:
    if issuer is None:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    try:
        stated = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(stated)


def _by_a_broken_hash(made: Minted, signer: Key, name: str) -> Minted:
    """Signed again with a digest that cryptography no longer signs certificates with; RSA alone."""
    assert isinstance(signer, rsa.RSAPrivateKey)
    tbs = made.certificate.tbs_certificate_bytes.replace(_SHA256_RSA, _RSA_OIDS[name], 1)
    signature = signer.sign(tbs, padding.PKCS1v15(), _BROKEN_HASHES[name])
    return Minted(_certificate(tbs, _wrapped(0x30, _RSA_OIDS[name] + b"\x05\x00"), signature), made.key)


def _certificate(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """RFC 5280 §4.1: the part that is signed, how, and the signature as a string of bits."""
    return _wrapped(0x30, tbs + algorithm + _wrapped(0x03, b"\x00" + signature))


def _wrapped(tag: int, content: bytes) -> bytes:
    """Tag, length and value (X.690 §8.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _oid(identifier: x509.ObjectIdentifier) -> bytes:
    """The three octets of an extension's identifier below 2.5.29."""
    return bytes([0x06, 0x03, 0x55, 0x1D, int(identifier.dotted_string.rpartition(".")[2])])

