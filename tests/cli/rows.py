"""Result records as the scanner writes them, made by hand so that views can be tested without a network."""

from __future__ import annotations

from typing import Any

from fleetprobe.record.columns import EMPTY_RESULT

Row = dict[str, Any]

_COMMAND = (
    "openssl s_client -connect 192.0.2.7:443 -servername shop.example 2>/dev/null </dev/null "
    "| openssl x509 -noout -subject -dates"
)


def failed(**changes: Any) -> Row:
    """A name with two addresses, and an expired certificate on both."""
    row: Row = {
        **EMPTY_RESULT,
        "kind": "result",
        "schema_version": "1.0",
        "run_id": "r",
        "result_id": "0123456789abcdef",
        "target_id": "fedcba9876543210",
        "vantage": "here",
        "seq": 1,
        "started_at": "2026-03-01T12:00:00.000000Z",
        "duration_ms": 20.0,
        "queue_ms": 1.0,
        "witness_ms": 4.0,
        "unattributed_ms": 0.5,
        "dns_duration_ms": 2.0,
        "tcp_connect_duration_ms": 1.5,
        "tls_handshake_duration_ms": 11.0,
        "target": "https://shop.example:443",
        "server_address": "shop.example",
        "server_port": 443,
        "service": "https",
        "labels": {"env": "prod"},
        "source": "fleet.csv:7",
        "state": "fail",
        "layer": "tls",
        "code": "tls.expired",
        "confidence": "observed",
        "settled": True,
        "truncated": False,
        "summary": "the certificate of 192.0.2.7:443 expired on 2026-02-01",
        "fix": "Renew the certificate, install it and reload the service.",
        "fix_commands": ["certbot renew"],
        "repro": [_COMMAND],
        "not_this": ["a server that is down (tcp.timeout): it finished a TCP handshake"],
        "could_also_be": ["local.clock_skew"],
        "proven_layers": ["link", "dns", "ip", "tcp"],
        "findings": [
            {
                "code": "tls.legacy_version",
                "severity": "warn",
                "layer": "tls",
                "summary": "TLS 1.0 works",
                "facts": {},
            }
        ],
        "network_peer_address": "192.0.2.7",
        "network_peer_port": 443,
        "network_local_address": "198.18.0.2",
        "network_local_port": 40112,
        "network_type": "ipv4",
        "network_transport": "tcp",
        "addresses": [
            {
                "address": "192.0.2.7",
                "family": "ipv4",
                "outcome": "fail",
                "code": "tls.expired",
                "duration_ms": 14.0,
            },
            {"address": "2001:db8::7", "family": "ipv6", "outcome": "ok", "code": None, "duration_ms": 15.0},
        ],
        "attempts": [],
        "layers": layers(),
    }
    return {**row, **changes}


def layers() -> list[Row]:
    """The climb of `failed`: four rungs, one above that was not reached, and a witness."""
    return [
        _layer(
            "dns", "pass", {"source": "dns", "answers": ["192.0.2.7", "2001:db8::7"], "min_ttl_s": 60}, 2.0
        ),
        _layer("ip", "pass", {"gateway": "198.18.0.1", "interface": "eth0", "source": "198.18.0.2"}, 0.1),
        _layer(
            "tcp",
            "warn",
            {
                "address": "192.0.2.7",
                "port": 443,
                "local_address": "198.18.0.2",
                "local_port": 40112,
                "event": "connected",
                "rtt_ms": 1.25,
                "mss_bytes": 1460,
                "syn_retransmits": 1,
            },
            1.5,
            "tcp.syn_retransmit",
        ),
        _layer(
            "tls",
            "fail",
            {
                "event": "completed",
                "protocol_version": "TLSv1.3",
                "cipher": "TLS_AES_256_GCM_SHA384",
                "chain_length": 2,
                "certificates": [{"issuer": "CN=Example CA", "not_after": "2026-02-01T00:00:00Z"}],
            },
            11.0,
            "tls.expired",
        ),
        _layer("http", "skipped", {}, None),
        _layer("tcp", "pass", {"event": "connected"}, 1.0),
    ]


def _layer(name: str, outcome: str, facts: Row, duration_ms: float | None, code: str | None = None) -> Row:
    return {
        "layer": name,
        "outcome": outcome,
        "code": code,
        "start_ms": None,
        "duration_ms": duration_ms,
        "facts": facts,
    }


def run_end(**changes: Any) -> Row:
    """The end of a run of three targets."""
    row: Row = {
        "kind": "run_end",
        "outcome": "completed",
        "results": 3,
        "not_run": 0,
        "duplicates": 0,
        "counts_by_state": {"ok": 2, "fail": 1},
        "elapsed_ms": 1234.5,
    }
    return {**row, **changes}
