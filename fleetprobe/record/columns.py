"""Every record kind, column by column (design §7): the contract from which rows and schema are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCHEMA_VERSION = "1.2"
"""Minor: columns were added. Major: a column changed its meaning."""

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_TEXT_OR_NULL: Json = {"type": ["string", "null"]}
_INT: Json = {"type": "integer"}
_INT_OR_NULL: Json = {"type": ["integer", "null"]}
_COUNT: Json = {"type": "integer", "minimum": 0}
_MS: Json = {"type": "number", "minimum": 0}
_MS_OR_NULL: Json = {"type": ["number", "null"], "minimum": 0}
_BOOL: Json = {"type": "boolean"}
_TEXTS: Json = {"type": "array", "items": {"type": "string"}}
_TEXTS_OR_NULL: Json = {"type": ["array", "null"], "items": {"type": "string"}}
_OBJECT: Json = {"type": "object"}
_COUNTS: Json = {"type": "object", "additionalProperties": _COUNT}
_HEX16: Json = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
_SHA256: Json = {"type": "string", "pattern": "^[0-9A-F]{64}$"}
_TIME: Json = {"type": "string", "format": "date-time"}
_TIME_OR_NULL: Json = {"type": ["string", "null"], "format": "date-time"}
_STATE: Json = {"enum": ["ok", "slow", "fail", "unknown", "blocked"]}
_CONFIDENCE: Json = {"enum": ["proven", "observed", "inferred", None]}
_OUTCOME: Json = {"enum": ["pass", "warn", "fail", "unknown", "skipped"]}


def _kind(name: str) -> Json:
    return {"const": name}


def _rows(columns: Mapping[str, Json]) -> Json:
    return {"type": "array", "items": _closed(columns)}


def _closed(columns: Mapping[str, Json]) -> Json:
    return {
        "type": "object",
        "properties": dict(columns),
        "required": list(columns),
        "additionalProperties": False,
    }


_FINDING = {"code": _TEXT, "severity": {"enum": ["fail", "warn", "info", "slow", "unknown", "blocked"]},
            "layer": _TEXT, "summary": _TEXT, "facts": _OBJECT}
_ADDRESS = {"address": _TEXT, "family": {"enum": ["ipv4", "ipv6"]}, "outcome": _STATE, "code": _TEXT_OR_NULL,
            "duration_ms": _MS_OR_NULL}
_ATTEMPT = {"purpose": _TEXT, "transport": {"enum": ["tcp", "udp", "icmp"]}, "address": _TEXT, "port": _INT,
            "local_port": _INT_OR_NULL, "start_ms": {"type": "number"}, "duration_ms": _MS, "outcome": _TEXT}
_LAYER = {"layer": _TEXT, "outcome": _OUTCOME, "code": _TEXT_OR_NULL, "start_ms": {"type": ["number", "null"]},
          "duration_ms": _MS_OR_NULL, "facts": _OBJECT}

RESULT: Mapping[str, Json] = {
    "kind": _kind("result"),
    "schema_version": _TEXT,
    "run_id": _TEXT,
    "result_id": _HEX16,
    "target_id": _HEX16,
    "vantage": _TEXT,
    "seq": _COUNT,
    "started_at": _TIME,
    "duration_ms": _MS,
    "queue_ms": _MS,
    "witness_ms": _MS,
    "unattributed_ms": _MS,
    "target": _TEXT,
    "server_address": _TEXT_OR_NULL,
    "server_port": _INT_OR_NULL,
    "service": _TEXT_OR_NULL,
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "source": _TEXT_OR_NULL,
    "state": _STATE,
    "layer": _TEXT_OR_NULL,
    "code": _TEXT_OR_NULL,
    "confidence": _CONFIDENCE,
    "settled": _BOOL,
    "summary": {"type": "string", "maxLength": 160},
    "fix": {"type": ["string", "null"], "maxLength": 160},
    "fix_commands": _TEXTS,
    "repro": _TEXTS,
    "not_this": _TEXTS,
    "could_also_be": _TEXTS,
    "proven_layers": _TEXTS,
    "findings": _rows(_FINDING),
    "root_cause_id": _TEXT_OR_NULL,
    "escalate_to": _TEXT_OR_NULL,
    "network_peer_address": _TEXT_OR_NULL,
    "network_peer_port": _INT_OR_NULL,
    "network_local_address": _TEXT_OR_NULL,
    "network_local_port": _INT_OR_NULL,
    "network_type": {"enum": ["ipv4", "ipv6", None]},
    "network_transport": {"enum": ["tcp", "udp", None]},
    "addresses": _rows(_ADDRESS),
    "attempts": _rows(_ATTEMPT),
    "dns_duration_ms": _MS_OR_NULL,
    "tcp_connect_duration_ms": _MS_OR_NULL,
    "tcp_rtt_ms": _MS_OR_NULL,
    "tcp_syn_retransmits": _INT_OR_NULL,
    "tls_handshake_duration_ms": _MS_OR_NULL,
    "http_time_to_first_byte_ms": _MS_OR_NULL,
    "path_mtu_bytes": _INT_OR_NULL,
    "path_mtu_direction": {"enum": ["forward", "reverse", "both", None]},
    "tcp_mss_bytes": _INT_OR_NULL,
    "icmp_type": _INT_OR_NULL,
    "icmp_code": _INT_OR_NULL,
    "icmp_from": _TEXT_OR_NULL,
    "errno_name": _TEXT_OR_NULL,
    "tls_protocol_version": _TEXT_OR_NULL,
    "tls_cipher": _TEXT_OR_NULL,
    "tls_next_protocol": _TEXT_OR_NULL,
    "tls_server_subject": _TEXT_OR_NULL,
    "tls_server_issuer": _TEXT_OR_NULL,
    "tls_server_not_after": _TIME_OR_NULL,
    "tls_server_hash_sha256": {"type": ["string", "null"], "pattern": "^[0-9A-F]{64}$"},
    "tls_server_chain_length": _INT_OR_NULL,
    "openssl_verify_code": _INT_OR_NULL,
    "tls_alert": _INT_OR_NULL,
    "http_response_status_code": _INT_OR_NULL,
    "http_response_server": _TEXT_OR_NULL,
    "dns_rcode": _TEXT_OR_NULL,
    "dns_answers": _TEXTS_OR_NULL,
    "layers": _rows(_LAYER),
    "truncated": _BOOL,
    "path": _TEXT_OR_NULL,
    "sni": _TEXT_OR_NULL,
    "host_header": _TEXT_OR_NULL,
    "connect_to": _TEXT_OR_NULL,
}

CERTIFICATE: Mapping[str, Json] = {
    "kind": _kind("certificate"),
    "schema_version": _TEXT,
    "run_id": _TEXT,
    "seq": _COUNT,
    "sha256": _SHA256,
    "der_base64": _TEXT_OR_NULL,
    "truncated": _BOOL,
}

AMEND: Mapping[str, Json] = {
    "kind": _kind("amend"),
    "schema_version": _TEXT,
    "run_id": _TEXT,
    "seq": _COUNT,
    "result_id": _HEX16,
    "target_id": _HEX16,
    "target": _TEXT,
    "reason": {"type": "string", "maxLength": 160},
    "was": _closed({"state": _STATE, "code": _TEXT_OR_NULL, "confidence": _CONFIDENCE}),
    "fields": {"type": "object", "properties": RESULT, "additionalProperties": False},
}

CAUSE: Mapping[str, Json] = {
    "kind": _kind("cause"),
    "schema_version": _TEXT,
    "run_id": _TEXT,
    "seq": _COUNT,
    "root_cause_id": _HEX16,
    "code": _TEXT,
    "summary": {"type": "string", "maxLength": 160},
    "factor": _TEXT,
    "target_count": _COUNT,
    "targets": _TEXTS,
    "counter_examples": _TEXTS,
}

RUN_START: Mapping[str, Json] = {
    "kind": _kind("run_start"),
    "schema_version": _TEXT,
    "run_id": _TEXT,
    "seq": _COUNT,
    "vantage": _TEXT,
    "started_at": _TIME,
    "fleetprobe_version": _TEXT,
    "rules_version": _TEXT,
    "python_version": _TEXT,
    "openssl_versions": {"type": "object", "additionalProperties": _TEXT},
    "kernel_version": _TEXT,
    "argv": _TEXTS,
    "inventory_sha256": _TEXT_OR_NULL,
    "seed": _INT,
    "resumed_from_seq": _INT_OR_NULL,
    "vantage_facts": _OBJECT,
}

RUN_END: Mapping[str, Json] = {
    "kind": _kind("run_end"),
    "schema_version": _TEXT,
    "run_id": _TEXT,
    "seq": _COUNT,
    "vantage": _TEXT,
    "ended_at": _TIME,
    "elapsed_ms": _MS,
    "outcome": {"enum": ["completed", "interrupted", "deadline"]},
    "exit_code": _INT,
    "results": _COUNT,
    "not_run": _INT_OR_NULL,
    "duplicates": _COUNT,
    "counts_by_state": _COUNTS,
    "counts_by_code": _COUNTS,
    "lines": _COUNT,
    "lines_sha256": _SHA256,
}

KINDS: Mapping[str, Mapping[str, Json]] = {
    "run_start": RUN_START,
    "result": RESULT,
    "certificate": CERTIFICATE,
    "amend": AMEND,
    "cause": CAUSE,
    "run_end": RUN_END,
}

EMPTY_RESULT: Mapping[str, Any] = dict.fromkeys(RESULT)
"""Every column, null: the row that a result is filled into, so that no column is ever missing."""


def schema() -> Json:
    """The JSON Schema (draft 2020-12) of one output line."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"fleetprobe record, version {SCHEMA_VERSION}",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in KINDS],
        "$defs": {kind: _closed(columns) for kind, columns in KINDS.items()},
    }
