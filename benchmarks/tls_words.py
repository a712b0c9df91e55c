"""Which words of other tools name which cause: the table by which `benchmarks/tls_tools.py` judges them.

A word is accepted where it tells the cause from others. OpenSSL's "unable to get local issuer certificate" and
"unable to verify the first certificate" stand for a missing intermediate, an unknown root and a broken leaf alike, so
they are accepted where no more can be known, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from tests.zoo.book import Server

_SILENCE: Final = r"timed? ?out|no end in|errno 110"
_ENDED: Final = r"reset|\beof\b|closed|errno 104|empty reply|errno 0|SSL_ERROR_SYSCALL|unexpected eof"

WORDS: Final[Mapping[str, str]] = {
    "tls.missing_intermediate": r"incomplete|missing (intermediate|issuer)",
    "tls.untrusted_root": r"self[- ]signed (certificate )?(in|CA)|untrusted root|root .*not trusted",
    "tls.self_signed": r"self[- ]signed(?!( certificate)? in| CA)",
    "tls.issuer_unknown": r"local issuer|first certificate|incomplete|unable to get issuer",
    "tls.bad_signature": r"signature failure|bad signature|signature (is )?invalid|signature.*(mismatch|does not)",
    "tls.issuer_not_ca": r"invalid CA|not a CA|cA must be|keyCertSign|key ?usage",
    "tls.path_length": r"path ?length",
    "tls.name_constraint": r"permitted|excluded|name constraint",
    "tls.chain_oversize": r"excessive|too (long|large|big)|max depth",
    "tls.rejected_by_verifier": r"critical extension|chain too long|max depth|too many",
    "tls.expired": r"expired",
    "tls.not_yet_valid": r"not yet valid|not valid (yet|before)|before",
    "tls.name_mismatch": r"host ?name|IP address mismatch|subject ?(Alt)?Name|does not match|no alternative|wildcard",
    "tls.weak_key": r"key (too|is) (small|weak)|keySize",
    "tls.weak_signature": r"(md|digest|hash).*weak|SHA-?1|MD5|signature algorithm",
    "tls.wrong_usage": r"purpose|EKU|extended ?key ?usage|extKeyUsage",
    "tls.malformed": r"malformed|duplicate|invalid (extension|encoding)|pars(e|ing)",
    "tls.version_unsupported": r"protocol version|unsupported protocol|version",
    "tls.no_shared_cipher": r"no shared cipher|no ciphers?\b|cipher suite",
    "tls.unrecognized_name": r"unrecogni[sz]ed name",
    "tls.sni_required": r"unrecogni[sz]ed name|\bSNI\b",
    "tls.client_certificate_required": r"certificate required|client (cert|auth)",
    "tls.large_hello_intolerant": r"client ?hello|hello size|large hello",
    "tls.alert": r"alert|handshake failure|internal error|access denied|application protocol|ALPN",
    "tls.not_tls": r"wrong version number|not TLS|TLS.?enabled|packet length|plain|HTTP/0\.9",
    "tls.protocol_error": r"packet length|record|protocol error|wrong version",
    "tls.no_answer": _SILENCE, "tls.stalled": _SILENCE,
    "tls.dropped": _ENDED, "tcp.closed": _ENDED,
    "tls.starttls_refused": r"START ?TLS|AUTH TLS", "tls.starttls_injected": r"inject|before TLS|unexpected",
    "http.status": r"HTTP 400", "http.misdirected": r"HTTP 421",
    "http.client_certificate_required": r"HTTP 400|client (cert|auth)",
    "tls.wrong_order": r"order", "tls.extra_certs": r"extra|unrelated|unused|not (part|needed)",
    "tls.duplicate_certs": r"duplicate|twice", "tls.root_sent": r"anchor|root", "tls.cross_sign": r"cross",
    "tls.expiring": r"expires? |days", "tls.legacy_version": r"TLS ?v?1(\.[01])?\b|deprecated|obsolete",
    "tls.must_staple": r"must.?staple", "tls.pedantic": r"strict|key identifier|required extension",
}
"""Code to the words that name it, by regular expression, whatever the case of the letters."""


def names_the_cause(server: Server, tool: str, text: str, verdict: Sequence[str]) -> bool:
    """Whether a tool's words name what is the matter; ours by code, as it is the contract."""
    causes = server.causes
    if tool == "fleetprobe":
        state, code, _, *findings = verdict
        return (code == causes[0] or state == "ok") and set(causes) - {"ok"} <= {code, *findings}
    if causes[0] == "ok":
        return text == "ok"
    return re.search(WORDS[causes[0]], text, re.IGNORECASE) is not None
