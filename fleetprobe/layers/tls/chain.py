"""What is wrong with the certificates presented: chain, dates, name and strength, each judged by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from typing import Any, Final

from fleetprobe.layer import found
from fleetprobe.layers.tls import gap, rejected
from fleetprobe.layers.tls.certificate import TEXT_CHARS, Certificate, Malformed, Read, iso
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import BAD_SIGNATURE, NO_ISSUER, same_name, twins
from fleetprobe.layers.tls.names import mismatch
from fleetprobe.layers.tls.shown import role, show
from fleetprobe.model.verdict import Confidence, Finding

# X509_V_ERR_* of openssl/x509_vfy.h, the same numbers since OpenSSL 3.0.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_SELF_SIGNED_LEAF: Final = 18
_SELF_SIGNED_IN_CHAIN: Final = 19
_TOO_LONG: Final = 22
"""OpenSSL went no further up; whether there is an issuer was not asked."""
_WEAK_KEY: Final = frozenset({66, 67})
_WEAK_SIGNATURE: Final = frozenset({68})
_JUDGED: Final = (
    frozenset({_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED_LEAF, _SELF_SIGNED_IN_CHAIN})
    | NO_ISSUER | _WEAK_KEY | _WEAK_SIGNATURE | rejected.JUDGED
)

_SHORTEST_BITS: Final = {"RSA": 2048, "DSA": 2048, "EC": 224}
"""112 bits of security (NIST SP 800-57 part 1 table 2), which OpenSSL's default level 2 asks for."""
_BROKEN_HASHES: Final = frozenset({"md2", "md4", "md5", "sha1"})

EMITS: Final = frozenset({
    "tls.self_signed", "tls.untrusted_root", "tls.issuer_unknown", "tls.rejected_by_verifier", "tls.expired",
    "tls.not_yet_valid", "tls.name_mismatch", "tls.weak_key", "tls.weak_signature", "tls.malformed",
}) | gap.EMITS | rejected.EMITS


def faults(facts: TlsFacts, as_of: datetime) -> tuple[Finding, ...]:
    """Every fault of the presented certificates, one finding a cause; chain, dates, name, strength."""
    path = judged_path(facts)
    leaf = path[0] if path else None
    explained = gap.told(facts, facts.repair) if facts.repair is not None and _endless(facts) else []
    findings = [
        *(explained or _trust(facts, path)),
        *rejected.rejections(facts, path, signed=bool(explained)),
        _other(facts),
        _expired(facts, path, as_of),
        _dates(facts, path, _NOT_YET_VALID, "tls.not_yet_valid", lambda one: one.not_before > as_of),
        _name(facts, leaf) if leaf else None,
        _weak(facts, path, _WEAK_KEY, "tls.weak_key", weak_key),
        _weak(facts, path, _WEAK_SIGNATURE, "tls.weak_signature", weak_signature),
        _malformed(facts, path),
    ]
    told = [finding for finding in findings if finding is not None]
    better = frozenset[str]().union(*(finding.supersedes for finding in told))
    told = [finding for finding in told if finding.code not in better]
    return tuple(sorted(told, key=lambda finding: finding.rank))


def judged_path(facts: TlsFacts) -> tuple[Certificate, ...]:
    """The path that OpenSSL built, leaf first, as far as it can be read; by issuer names where it is not known."""
    known = tuple(takewhile(lambda one: isinstance(one, Certificate), facts.path))
    return tuple(one for one in known if isinstance(one, Certificate)) or walk(facts.certificates)


def walk(certificates: Sequence[Read]) -> tuple[Certificate, ...]:
    """The presented certificates from the leaf upward by issuer name; empty when the leaf is unreadable."""
    if not certificates or isinstance(certificates[0], Malformed):
        return ()
    path = [certificates[0]]
    rest = [one for one in certificates[1:] if isinstance(one, Certificate)]
    while path[-1].subject != path[-1].issuer:
        above = next((one for one in rest if one.subject == path[-1].issuer and one not in path), None)
        if above is None:
            break
        path.append(above)
    return tuple(path)


def weak_key(certificate: Certificate) -> str | None:
    """Why its key is weak, as text."""
    shortest = _SHORTEST_BITS.get(certificate.key_type)
    if shortest is None or certificate.key_bits is None or certificate.key_bits >= shortest:
        return None
    return f"{certificate.key_type} key of {certificate.key_bits} bits"


def weak_signature(certificate: Certificate) -> str | None:
    """Why its signature is weak, as text; nobody relies on the signature of a self-signed certificate."""
    if certificate.self_signed or certificate.signature_hash not in _BROKEN_HASHES:
        return None
    return f"signed with {certificate.signature_hash}"


def _trust(facts: TlsFacts, path: Sequence[Certificate]) -> Sequence[Finding]:
    """Why no trust anchor was reached: one reason, or two where a missing link leads to a root that is not trusted."""
    codes = {code for code, _ in facts.handshake.verify_errors}
    evidence = {"openssl_verify_codes": [code for code, _ in facts.handshake.verify_errors]}
    if _SELF_SIGNED_LEAF in codes:
        if path and not path[0].self_signed:
            summary = f"the certificate of {facts.address} has its issuer's name and no key identifiers"
            summary += f" ({_leaf_name(path)}): clients take it for self-signed"
            return [found("tls.rejected_by_verifier", summary, evidence)]
        summary = f"the certificate of {facts.address} is signed by itself ({_leaf_name(path)})"
        return [found("tls.self_signed", summary, evidence)]
    if not _endless(facts):
        return []
    if _SELF_SIGNED_IN_CHAIN in codes:
        root = show(path[-1].subject) if path else "unreadable"
        summary = f"{facts.address} presents a chain to an untrusted root ({root})"
        return [found("tls.untrusted_root", summary, evidence, settled=False)]
    if not codes & NO_ISSUER:
        return []
    if path and (another := rejected.another_key(facts, path[-1])):
        return [another]
    if facts.repair is not None and facts.repair.holds and not facts.repair.added:
        summary = f"the chain of {facts.address} holds without {_leaf_name(path[-1:])}, which leads nowhere"
        return [found("tls.issuer_unknown", summary, {**evidence, **facts.repair.record()}, settled=False)]
    wanted = path[-1].issuer if path else "unknown"
    summary = f"no issuer found for the chain of {facts.address}: wanted {show(wanted)}"
    offered = bool(path) and bool(path[-1].issuer_urls)
    more: dict[str, Any] = {**evidence, "issuer_wanted": wanted[:TEXT_CHARS], "aia_offered": offered}
    if path and path[-1].issuer_key_id:
        more["issuer_key_id"] = path[-1].issuer_key_id
    return [found("tls.issuer_unknown", summary, more, confidence=Confidence.INFERRED, settled=False)]


def _endless(facts: TlsFacts) -> bool:
    """Whether OpenSSL's path ends before an anchor, by its end or by a signature."""
    codes = {code for code, _ in facts.handshake.verify_errors}
    return bool(codes & (NO_ISSUER | {_SELF_SIGNED_IN_CHAIN, BAD_SIGNATURE})) and not codes & {
        _TOO_LONG, _SELF_SIGNED_LEAF,
    }


def _other(facts: TlsFacts) -> Finding | None:
    """A number that has no verdict of its own, or nothing that a number could be about."""
    errors = facts.handshake.verify_errors
    evidence = {"openssl_verify_codes": [code for code, _ in errors]}
    for code, depth in errors:
        if code not in _JUDGED:
            summary = f"OpenSSL rejects the chain of {facts.address}: verify code {code} at depth {depth}"
            return found("tls.rejected_by_verifier", summary, evidence)
    if facts.handshake.fault is None and not facts.handshake.chain_der:
        summary = f"{facts.address} completed the handshake and presented no certificate"
        return found("tls.rejected_by_verifier", summary, evidence)
    return None


def _dates(
    facts: TlsFacts,
    path: Sequence[Certificate],
    number: int,
    code: str,
    outside: Callable[[Certificate], bool],
) -> Finding | None:
    """Certificates out of date: the leaf by its own dates, any by OpenSSL's number with its depth."""
    depths = sorted({depth for one, depth in facts.handshake.verify_errors if one == number})
    if path and outside(path[0]) and 0 not in depths:
        depths.insert(0, 0)
    if not depths:
        return None
    culprits = [_at(facts, path, depth, outside) for depth in depths]
    first = culprits[0]
    expired = code == "tls.expired"
    if first is None:
        when = "has expired" if expired else "is not valid yet"
    elif expired:
        when = f"expired on {iso(first.not_after)}"
    else:
        when = f"is valid only from {iso(first.not_before)}"
    summary = f"the {role(depths[0])} of {facts.address} {when}"
    listed = [_evidence(facts, depth, one) for depth, one in zip(depths, culprits, strict=True)]
    # By the end of the run the clocks of many servers may speak against ours.
    return found(code, summary, {"out_of_date": listed}, settled=False)


def _expired(facts: TlsFacts, path: Sequence[Certificate], as_of: datetime) -> Finding | None:
    """What has expired; of an issuer also whether one that is valid is known to the fleet."""
    expired = _dates(facts, path, _EXPIRED, "tls.expired", lambda one: one.not_after < as_of)
    if expired is None or not any(code == _EXPIRED and depth for code, depth in facts.handshake.verify_errors):
        return expired
    repair = facts.repair
    if repair is None or not repair.holds or not repair.added:
        return expired
    return replace(expired, facts={**expired.facts, "replacement": repair.record()})


def _name(facts: TlsFacts, leaf: Certificate) -> Finding | None:
    missed = mismatch(leaf, facts.server_name)
    if missed is None:
        return None
    only = f", only for {show(', '.join(missed.near[:3]))}" if missed.near else ""
    summary = f"the certificate of {facts.address} is not for {show(facts.server_name)}{only}"
    if missed.reason == "cn_only":
        summary = f"the certificate of {facts.address} has {show(facts.server_name)} as its common name alone, "
        summary += "which clients do not look at"
    near = [name[:256] for name in missed.near]
    return found("tls.name_mismatch", summary, {"reason": missed.reason, "near": near})


def _weak(
    facts: TlsFacts,
    path: Sequence[Certificate],
    numbers: frozenset[int],
    code: str,
    weakness: Callable[[Certificate], str | None],
) -> Finding | None:
    """Weak by our own rule, as the handshake runs at security level 0; or by OpenSSL's number.

    The whole path where OpenSSL built it, as clients look at all of it. Of one put together by names only the leaf
    and its issuer: further up, the trust store may hold a stronger twin of what was presented.
    """
    judged = path if facts.path else path[:2]
    weak = {depth: why for depth, one in enumerate(judged) if (why := weakness(one))}
    for one, depth in facts.handshake.verify_errors:
        if one in numbers:
            weak.setdefault(depth, f"OpenSSL verify code {one}")
    if not weak:
        return None
    depth = min(weak)
    summary = f"the {role(depth)} of {facts.address} is weak: {weak[depth]}"
    listed = [{"depth": at, "why": why} for at, why in sorted(weak.items())]
    return found(code, summary, {"weak": listed})


def _malformed(facts: TlsFacts, path: Sequence[Certificate]) -> Finding | None:
    """An unreadable leaf, or an unreadable certificate where the verifier looked for an issuer in vain."""
    for position, one in enumerate(facts.certificates):
        field = one.field if isinstance(one, Malformed) else next(iter(one.unread), None)
        if field is not None and (_sought(facts) or (position == 0 and isinstance(one, Malformed))):
            which = "leaf" if position == 0 else f"certificate number {position + 1}"
            summary = f"the {which} of {facts.address} cannot be read: field {field} is broken"
            evidence = {"position": position, "field": field, "certificate_sha256": one.sha256}
            # OpenSSL goes by such a certificate, and above it, as if there were no issuer.
            explained = {"tls.issuer_unknown"} if _stopped_at(path, facts, position) else set()
            return found("tls.malformed", summary, evidence, supersedes=frozenset(explained))
    return None


def _stopped_at(path: Sequence[Certificate], facts: TlsFacts, position: int) -> bool:
    """Whether it is the certificate at which OpenSSL found no issuer, or it bears the name of the issuer wanted."""
    one = facts.certificates[position]
    if not _sought(facts) or isinstance(one, Malformed) or not path:
        return _sought(facts) and position == 0
    return one.sha256 == path[-1].sha256 or same_name(one.subject, path[-1].issuer)


def _sought(facts: TlsFacts) -> bool:
    return any(code in NO_ISSUER for code, _ in facts.handshake.verify_errors)


def _at(
    facts: TlsFacts, path: Sequence[Certificate], depth: int, outside: Callable[[Certificate], bool]
) -> Certificate | None:
    """The certificate OpenSSL meant by a depth: its path may differ from ours, so the dates must agree."""
    if depth < len(path) and outside(path[depth]):
        return path[depth]
    if depth == 0:
        return path[0] if path else None
    return next((one for one in _issuers(facts) if outside(one)), None)


def _issuers(facts: TlsFacts) -> Iterator[Certificate]:
    return (one for one in facts.certificates[1:] if isinstance(one, Certificate))


def _evidence(facts: TlsFacts, depth: int, certificate: Certificate | None) -> Mapping[str, Any]:
    if certificate is None:
        return {"depth": depth, "presented": False}
    return {
        "depth": depth,
        "role": _part(facts, depth, certificate),
        "subject": certificate.subject[:TEXT_CHARS],
        "not_before": iso(certificate.not_before),
        "not_after": iso(certificate.not_after),
        "certificate_sha256": certificate.sha256,
    }


def _part(facts: TlsFacts, depth: int, certificate: Certificate) -> str:
    """leaf, root, cross_sign or intermediate."""
    if depth == 0:
        return "leaf"
    if certificate.self_signed:
        return "root"
    others = (one for one in facts.certificates if isinstance(one, Certificate) and one.sha256 != certificate.sha256)
    return "cross_sign" if any(twins(one, certificate) for one in others) else "intermediate"


def _leaf_name(path: Sequence[Certificate]) -> str:
    return show(path[0].subject) if path else "unreadable"
