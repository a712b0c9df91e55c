"""What OpenSSL's number means where it has a reason of its own: the certificate it stopped at, and why there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fleetprobe.layer import found
from fleetprobe.layers.tls.certificate import TEXT_CHARS, Certificate
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import BAD_SIGNATURE, same_name
from fleetprobe.layers.tls.shown import role, show
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.handshake import MOST_CAS

# X509_V_ERR_* of openssl/x509_vfy.h, the same numbers since OpenSSL 3.0.
_TOO_LONG: Final = 22
"""It went no further up than it was told to; whether there is an issuer was not asked."""
_PATH_LENGTH: Final = 25
_PURPOSE: Final = 26
_NOT_CA: Final = frozenset({32, 79})
"""No keyCertSign, no CA:TRUE; OpenSSL says 79 of either."""
_CONSTRAINTS: Final = frozenset({47, 48, 49, 51, 52, 53})
"""Not permitted, excluded, and constraints that it cannot read or does not know, which forbid as well."""
_NAMES_SHOWN: Final = 8

JUDGED: Final = frozenset({BAD_SIGNATURE, _TOO_LONG, _PATH_LENGTH, _PURPOSE}) | _NOT_CA | _CONSTRAINTS
EMITS: Final = frozenset({
    "tls.bad_signature", "tls.issuer_not_ca", "tls.path_length", "tls.name_constraint", "tls.wrong_usage",
    "tls.chain_oversize", "tls.issuer_unknown",
})


def rejections(facts: TlsFacts, path: Sequence[Certificate], *, signed: bool = False) -> Iterator[Finding]:
    """A finding for each cause; what follows from an issuer that is none is not told again.

    `signed`: who did sign is known, so that a namesake of another key is no news.
    """
    depths: dict[int, int] = {}
    for code, depth in facts.handshake.verify_errors:
        depths.setdefault(code, depth)
    if BAD_SIGNATURE in depths and not signed:
        yield _bad_signature(facts, path, depths[BAD_SIGNATURE])
    if _TOO_LONG in depths:
        yield _too_long(facts, depths[_TOO_LONG])
    not_ca = min((depth for code, depth in depths.items() if code in _NOT_CA), default=None)
    if not_ca is not None:
        yield _issuer_not_ca(facts, path, not_ca)
    elif _PATH_LENGTH in depths:
        yield _path_length(facts, path, depths[_PATH_LENGTH])
    constrained = next((code for code in depths if code in _CONSTRAINTS), None)
    if constrained is not None:
        yield _name_constraint(facts, path, depths[constrained])
    if _PURPOSE in depths and depths[_PURPOSE] != not_ca:
        yield _wrong_usage(facts, path, depths[_PURPOSE])


def another_key(facts: TlsFacts, child: Certificate) -> Finding | None:
    """The issuer's name was presented, and no key under that name made the signature.

    OpenSSL passes over such certificates when the key identifier differs, and says only that it found no issuer.
    """
    trials = [one for one in facts.trials if one.child_sha256 == child.sha256]
    if not trials or any(one.fits is not False for one in trials):
        return None
    summary = f"{facts.address} presents an issuer whose key did not sign its certificate: {show(child.issuer)}"
    return found("tls.bad_signature", summary, {**_codes(facts), **_signature(facts, child)}, settled=False)


def _bad_signature(facts: TlsFacts, path: Sequence[Certificate], depth: int) -> Finding:
    child, issuer = _at(path, depth), _at(path, depth + 1)
    if child and issuer and not _meant(facts, child, issuer):
        return _namesake(facts, child, depth)
    name = show(child.issuer) if child else "its issuer"
    summary = f"the {role(depth)} of {facts.address} was not signed by the key of {name}"
    evidence = _signature(facts, child) if child else {}
    return found("tls.bad_signature", summary, {**_codes(facts), **_named(depth, child), **evidence}, settled=False)


def _meant(facts: TlsFacts, child: Certificate, issuer: Certificate) -> bool:
    """Whether this is the issuer that should have signed: the server presents it, or the key identifiers say so.

    One of the trust store has perhaps only the name of it, as when a CA without key identifiers changes its key.
    """
    if any(one.fits for one in facts.trials if one.child_sha256 == child.sha256):
        return False
    fits = child.issuer_key_id is not None and child.issuer_key_id == issuer.key_id
    return fits or issuer.sha256 in facts.fingerprints


def _namesake(facts: TlsFacts, child: Certificate, depth: int) -> Finding:
    """The trust store knows the issuer's name with another key: whether the right one is trusted, nobody knows."""
    evidence = {**_codes(facts), **_named(depth, child), **_signature(facts, child)}
    summary = f"no issuer found for the chain of {facts.address}: the trusted {show(child.issuer)} has another key"
    evidence["issuer_wanted"] = child.issuer[:TEXT_CHARS]
    return found("tls.issuer_unknown", summary, evidence, confidence=Confidence.INFERRED, settled=False)


def _too_long(facts: TlsFacts, depth: int) -> Finding:
    """Our limit is that of OpenSSL's clients; Firefox and rustls stop at 6."""
    summary = f"the chain of {facts.address} has more than {MOST_CAS} CAs above its leaf: some clients stop at 6"
    sizes = {"too": "long", "limit": MOST_CAS, "certificates": len(facts.handshake.chain_der), "depth": depth}
    return found("tls.chain_oversize", summary, {**_codes(facts), **sizes}, confidence=Confidence.INFERRED)


def _signature(facts: TlsFacts, child: Certificate) -> Mapping[str, Any]:
    """Who bears the issuer's name, and whether any of them signed after all."""
    tried = [one for one in facts.trials if one.child_sha256 == child.sha256]
    evidence = {
        "issuer": child.issuer[:TEXT_CHARS],
        "issuer_key_id": child.issuer_key_id,
        "did_not_sign": [one.issuer_sha256 for one in tried if one.fits is False],
        "signed": next((one.issuer_sha256 for one in tried if one.fits), None),
    }
    return {name: value for name, value in evidence.items() if value}


def _issuer_not_ca(facts: TlsFacts, path: Sequence[Certificate], depth: int) -> Finding:
    issuer = _at(path, depth)
    why = "is no CA"
    if issuer is not None:
        why = "is a CA without keyCertSign" if issuer.is_ca and issuer.signs_certificates is False else why
        why += f" ({show(issuer.subject)})"
    summary = f"the {role(depth)} of {facts.address} {why}"
    return found("tls.issuer_not_ca", summary, {**_codes(facts), **_named(depth, issuer)})


def _path_length(facts: TlsFacts, path: Sequence[Certificate], depth: int) -> Finding:
    limit = _at(path, depth)
    evidence: dict[str, Any] = {}
    allowed = "fewer CAs below it than there are"
    if limit is not None and limit.path_length is not None:
        # The leaf does not count, and neither do certificates that an authority gave itself (RFC 5280 §4.2.1.9).
        below = sum(not same_name(one.subject, one.issuer) for one in path[1:depth])
        evidence = {"path_length": limit.path_length, "authorities_below": below}
        allowed = f"{limit.path_length} CAs below it and has {below}"
    summary = f"the {role(depth)} of {facts.address} permits {allowed}"
    return found("tls.path_length", summary, {**_codes(facts), **_named(depth, limit), **evidence})


def _name_constraint(facts: TlsFacts, path: Sequence[Certificate], depth: int) -> Finding:
    child = _at(path, depth)
    by = next((one for one in path[depth + 1 :] if one.permitted_names or one.excluded_names), None)
    evidence: dict[str, Any] = {}
    if child is not None:
        evidence["names"] = [name[:TEXT_CHARS] for name in (*child.dns_names, *child.ip_addresses)[:_NAMES_SHOWN]]
    if by is not None:
        evidence["constrained_by"] = by.subject[:TEXT_CHARS]
        evidence["permitted"] = list(by.permitted_names[:_NAMES_SHOWN])
        evidence["excluded"] = list(by.excluded_names[:_NAMES_SHOWN])
    whose = f", constrained by {show(by.subject)}" if by else ""
    summary = f"the {role(depth)} of {facts.address} carries a name that its CA may not certify{whose}"
    return found("tls.name_constraint", summary, {**_codes(facts), **_named(depth, child), **evidence})


def _wrong_usage(facts: TlsFacts, path: Sequence[Certificate], depth: int) -> Finding:
    wrong = _at(path, depth)
    evidence: dict[str, Any] = {"purposes": list(wrong.purposes[:_NAMES_SHOWN])} if wrong else {}
    only = f", only for {', '.join(wrong.purposes[:3])}" if wrong and wrong.purposes else ""
    summary = f"the {role(depth)} of {facts.address} is not for TLS servers{only}"
    return found("tls.wrong_usage", summary, {**_codes(facts), **_named(depth, wrong), **evidence})


def _codes(facts: TlsFacts) -> Mapping[str, Any]:
    return {"openssl_verify_codes": [code for code, _ in facts.handshake.verify_errors]}


def _named(depth: int, certificate: Certificate | None) -> Mapping[str, Any]:
    if certificate is None:
        return {"depth": depth}
    subject = certificate.subject[:TEXT_CHARS]
    return {"depth": depth, "subject": subject, "certificate_sha256": certificate.sha256}


def _at(path: Sequence[Certificate], depth: int) -> Certificate | None:
    return path[depth] if 0 <= depth < len(path) else None
