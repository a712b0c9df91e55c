"""What one TLS handshake showed, without opinion."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layers.first_bytes import printable
from fleetprobe.layers.starttls.facts import UpgradeFacts
from fleetprobe.layers.tls.alerts import alert_name
from fleetprobe.layers.tls.certificate import TEXT_CHARS, Certificate, Malformed, Read, iso
from fleetprobe.layers.tls.graph import Trial
from fleetprobe.layers.tls.held import Held, anchor_of
from fleetprobe.layers.tls.repair import Repair
from fleetprobe.model.trust import SYSTEM
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Fault
from fleetprobe.net.path import Hole

_HASHES = 64
_READ_SHOWN = 8
_ISSUER_NAMES_SHOWN = 4


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """One handshake, and the certificates it presented.

    | field | type | meaning |
    |---|---|---|
    | address | text | the far end as `address:port` |
    | server_name | text | the name or address that the certificate must cover |
    | event | text | completed, silent, closed, reset or error |
    | phase | text | how far it came when it did not complete: `after hello`, `in handshake` |
    | errno_name | text | the kernel's errno, when it gave one |
    | duration_ms, rtt_ms | number | hello to last flight as the kernel reported it; round trip (TCP_INFO) |
    | lag_ms | number | how late our own loop was meanwhile |
    | hello_bytes | int | our ClientHello as sent, when it did not complete |
    | bytes_received, bytes_unacked | int | of the handshake; ours that the far kernel never acknowledged |
    | quiet_ms | number | from the last bytes that came, or our hello, to the end, when it did not complete |
    | hole | text | forward, reverse: the way in which segments are missing while later ones came (TCP_INFO) |
    | first_bytes | text | what the peer sent first, when it did not complete |
    | alerts_received, alerts_sent | list of {level, number, name} | RFC 8446 §6 |
    | close_notify, client_certificate_requested | bool | seen from the peer |
    | client_authorities, client_authority_count | list of text, int | from whom client certificates are taken |
    | openssl_reason | text | OpenSSL's words for its own error; information only |
    | protocol_version, cipher, group, alpn | text | what was agreed |
    | chain_length, chain_sha256 | int, list of hex | certificates as presented, in order |
    | certificates | list | the fields of the first of them, leaf first |
    | path_sha256 | list of hex | the path OpenSSL built, leaf first; its end may come from the trust store |
    | trust_anchor | {subject, sha256, not_after} | where that path ends, when nothing is wrong with it but dates |
    | ca_file | text | the bundle that the target trusts in place of the run's |
    | repair | {install_sha256, missing, verify_code, trust_anchor or untrusted_root} | the best path there is |
    | repair.fix_file, .fix_refused | text | with `--fix-dir`: its file, or why there is none; added by `mend.py` |
    | verify_errors | list of {code, depth} | X509_V_ERR numbers in the order OpenSSL met them |
    | trust | text | the label of the store that it was verified against, which decides |
    | trusts | {label: {verify_errors, trust_anchor}} | the same for each, where the target names several |
    | ocsp_staple_bytes | int | size of the stapled answer, 0 without |
    | upgrade | {starttls, said, offer, duration_ms, …} | the dialogue in plain text before it, where there was one |
    """

    address: str
    server_name: str
    handshake: Handshake
    certificates: tuple[Read, ...]
    """The first certificates as presented, read; leaf first."""
    rtt_ms: float | None
    last_word: Fault | None = None
    """What a server that had asked for a client certificate said right after the handshake."""
    path: tuple[Read, ...] = ()
    """The path that OpenSSL built, read; leaf first."""
    trials: tuple[Trial, ...] = ()
    """Where OpenSSL stopped: which of the issuers that bear the right name have signed."""
    alpn_offered: tuple[str, ...] = ()
    """Names of protocols in our hello (RFC 7301)."""
    trust: str = SYSTEM
    """The label of the store that the handshake was verified against; it decides."""
    held: tuple[Held, ...] = ()
    """The further stores that the target names."""
    upgrade: UpgradeFacts | None = None
    """What was said in plain text before the handshake, by a service that begins so."""

    ca_file: str | None = None
    """The bundle that the target trusts in place of the run's."""
    repair: Repair | None = None
    """The best path with what other hosts present, where the presented one ends nowhere."""

    @property
    def named_certificates(self) -> Mapping[str, bytes]:
        """Every certificate that the facts name, by fingerprint, in DER: for the record's own certificate lines."""
        path = zip((one.sha256 for one in self.path), self.handshake.path_der, strict=False)
        return {**dict(zip(self.fingerprints, self.handshake.chain_der, strict=False)), **dict(path)}

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """SHA-256 of every certificate as presented, in order, upper-case hex."""
        rest = self.handshake.chain_der[len(self.certificates) :]
        return (*(one.sha256 for one in self.certificates), *(hashlib.sha256(der).hexdigest().upper() for der in rest))

    @property
    def trust_anchor(self) -> Certificate | None:
        """Where the path ends, unless OpenSSL has more against it than dates."""
        return None if self.handshake.too_dear else anchor_of(self.path, self.handshake.verify_errors)

    @property
    def duration_ms(self) -> float:
        """From our hello to the deciding event, in milliseconds."""
        return (self.handshake.ended_s - self.handshake.started_s) * 1000.0

    @property
    def quiet_ms(self) -> float:
        """From the last bytes, or our hello, to the deciding event, in milliseconds."""
        seen = self.handshake
        return (seen.ended_s - (seen.started_s if seen.heard_s is None else seen.heard_s)) * 1000.0

    @property
    def phase(self) -> str | None:
        """How far the handshake came; None when it completed."""
        if self.handshake.fault is None:
            return None
        return "in handshake" if self.handshake.bytes_received else "after hello"

    @property
    def hole(self) -> Hole | None:
        """The kernel's account of segments that vanished."""
        return self.handshake.hole

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        seen, fault = self.handshake, self.handshake.fault
        facts = {
            "address": self.address,
            "server_name": self.server_name,
            "event": str(fault.event) if fault else "completed",
            "phase": self.phase,
            "errno_name": fault.errno_name if fault else None,
            "duration_ms": round(self.duration_ms, 3),
            "rtt_ms": self.rtt_ms,
            "lag_ms": round(seen.lag_ms, 3),
            "hello_bytes": (seen.hello_bytes or None) if fault else None,
            "bytes_received": seen.bytes_received,
            "quiet_ms": round(self.quiet_ms, 3) if fault else None,
            "bytes_unacked": seen.bytes_unacked,
            "hole": str(seen.hole.direction) if seen.hole else None,
            "first_bytes": printable(seen.first_bytes, 64) if fault and seen.first_bytes else None,
            "alerts_received": _alerts(seen.alerts_received),
            "alerts_sent": _alerts(seen.alerts_sent),
            "close_notify": seen.close_notify or None,
            "client_certificate_requested": seen.client_certificate_requested,
            "client_authorities": _authorities(seen.client_authorities),
            "client_authority_count": seen.client_authority_count or None,
            "openssl_reason": seen.openssl_reason,
            "protocol_version": seen.protocol_version,
            "cipher": seen.cipher,
            "group": seen.group,
            "alpn": seen.alpn,
            "upgrade": self.upgrade.brief() if self.upgrade else None,
            **self._chain(),
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """Columns of the result record; `openssl_verify_code` is the first error, 0 when there is none."""
        seen = self.handshake
        columns: dict[str, Any] = {
            "tls_protocol_version": seen.protocol_version,
            "tls_cipher": seen.cipher,
            "tls_next_protocol": seen.alpn,
            "tls_alert": next((number for _, number in reversed(seen.alerts_received) if number), None),
        }
        if seen.fault is not None:
            columns["errno_name"] = seen.fault.errno_name
        if seen.chain_der:
            columns["tls_server_chain_length"] = len(seen.chain_der)
            columns["openssl_verify_code"] = seen.verify_errors[0][0] if seen.verify_errors else 0
        return {**columns, **self._leaf()}

    def _leaf(self) -> Mapping[str, Any]:
        leaf = self.certificates[0] if self.certificates else None
        if leaf is None:
            return {}
        columns = {"tls_server_hash_sha256": leaf.sha256}
        if isinstance(leaf, Malformed):
            return columns
        return {
            **columns,
            "tls_server_subject": leaf.subject[:TEXT_CHARS],
            "tls_server_issuer": leaf.issuer[:TEXT_CHARS],
            "tls_server_not_after": iso(leaf.not_after),
        }

    def _chain(self) -> Mapping[str, Any]:
        chain = self.handshake.chain_der
        if not chain:
            return {}
        anchor = self.trust_anchor
        trusted = {"trust_anchor": _anchor(anchor)} if anchor else {}
        return {
            "chain_length": len(chain),
            "chain_sha256": list(self.fingerprints[:_HASHES]),
            "path_sha256": [one.sha256 for one in self.path[:_HASHES]],
            **trusted,
            **({"ca_file": self.ca_file} if self.ca_file else {}),
            **({"repair": self.repair.record()} if self.repair else {}),
            "certificates": [
                one.record() if index == 0 else _issuer(one)
                for index, one in enumerate(self.certificates[:_READ_SHOWN])
            ],
            "verify_errors": _errors(self.handshake.verify_errors),
            "trust": self.trust,
            **({"trusts": self._trusts()} if self.held else {}),
            "ocsp_staple_bytes": self.handshake.ocsp_staple_bytes,
        }


    def _trusts(self) -> Mapping[str, Any]:
        """Each label's own; no `verify_errors` where the chain could not be verified against it."""
        deciding = Held(self.trust, self.handshake.verify_errors, self.path)
        return {
            held.label: {
                **({"verify_errors": _errors(held.errors)} if held.judged else {}),
                **({"trust_anchor": _anchor(held.anchor)} if held.anchor else {}),
            }
            for held in (deciding, *self.held)
        }


def _errors(errors: Sequence[tuple[int, int]]) -> Sequence[Mapping[str, int]]:
    return [{"code": code, "depth": depth} for code, depth in errors]


_ISSUERS: dict[str, Mapping[str, Any]] = {}
_MOST_ISSUERS = 1024


def _issuer(one: Read) -> Mapping[str, Any]:
    """The record of a certificate above the leaf; a fleet has few of them."""
    known = _ISSUERS.get(one.sha256)
    if known is None:
        if len(_ISSUERS) >= _MOST_ISSUERS:
            _ISSUERS.clear()
        known = _ISSUERS[one.sha256] = one.record(_ISSUER_NAMES_SHOWN)
    return known


def _anchor(anchor: Certificate) -> Mapping[str, Any]:
    return {"subject": anchor.subject[:TEXT_CHARS], "sha256": anchor.sha256, "not_after": iso(anchor.not_after)}


def _authorities(names: Sequence[str]) -> Sequence[str] | None:
    return [printable(name.encode(), TEXT_CHARS) for name in names] or None


def _alerts(alerts: Sequence[tuple[int, int]]) -> Sequence[Mapping[str, Any]] | None:
    named = [{"level": level, "number": number, "name": alert_name(number)} for level, number in alerts]
    return named or None
