"""The fields beside a target spec, from whatever type a format gave them to what a `Target` holds."""

from __future__ import annotations

import difflib
import os.path
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar
from urllib.parse import quote

from fleetprobe.inventory.hosts import canonical_host, canonical_name
from fleetprobe.inventory.ports import one_port, port_list
from fleetprobe.inventory.refused import Refused, refuse_controls, shown
from fleetprobe.inventory.services import SERVICES
from fleetprobe.inventory.statuses import RANGES_MAX, statuses
from fleetprobe.inventory.trust import trust_labels
from fleetprobe.model.target import Expectations, Labels

FIELDS = (
    "service", "port", "sni", "host_header", "connect_to", "path", "expect_status", "expect_body",
    "expect_addresses", "ca_file", "trust", "timeout", "labels",
)
"""Every field a line may carry beside its target, in the order they are documented."""

TEXT_CHARS = 2048
LABELS_MAX = 32
LABEL_KEY_CHARS = 64
LABEL_VALUE_CHARS = 256
TIMEOUT_S_MAX = 60.0
_FIELDS_MAX = 64

_DECIMAL = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")
_HOST_PORT = re.compile(r"(?:\[(?P<address>[^\]]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>[^:]*))?")
_LABEL_KEY = re.compile(r"[^\s=]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The fields of one line, checked one by one; whether they fit the service is for `spec` to say."""

    service: str | None = None
    ports: tuple[int, ...] = ()
    sni: str | None = None
    host_header: str | None = None
    connect_to: str | None = None
    path: str | None = None
    expect: Expectations = field(default_factory=Expectations)
    ca_file: str | None = None
    trust: tuple[str, ...] = ()
    timeout_s: float | None = None
    labels: Labels = ()


_NOTHING = Options()
_STRUCTURED = ("labels", "expect_status", "trust")
_Made = TypeVar("_Made")


def read_options(fields: Mapping[str, object], base: str = "") -> Options:
    """
    Check every field and give the whole; `base` is the directory relative `ca_file` paths start from.

    A field whose value is None counts as absent. Raises `Refused` for the first field that is wrong.
    """
    if not fields:
        return _NOTHING
    if len(fields) > _FIELDS_MAX:
        raise Refused(f"the entry has {len(fields)} fields; at most {_FIELDS_MAX} are read")
    given = {name: value for name, value in fields.items() if value is not None}
    for name in given:
        if name not in FIELDS:
            raise Refused(unknown_field(name))
    if "ca_file" in given and "trust" in given:
        raise Refused("ca_file takes the place of every trust label; keep one of ca_file and trust")
    texts = {name: _text(name, given[name]) for name in given if name not in _STRUCTURED}
    return Options(
        service=_maybe(_service, texts.get("service")),
        ports=port_list(texts["port"]) if "port" in texts else (),
        sni=_maybe(lambda text: canonical_name("sni", text), texts.get("sni")),
        host_header=_maybe(_host_header, texts.get("host_header")),
        connect_to=_maybe(_connect_to, texts.get("connect_to")),
        path=_maybe(canonical_path, texts.get("path")),
        expect=Expectations(
            status=statuses(_texts_of("expect_status", given["expect_status"])) if "expect_status" in given else None,
            body=texts.get("expect_body"),
            addresses=_any_or_all(texts.get("expect_addresses", "any")),
        ),
        ca_file=_maybe(lambda text: _ca_file(text, base), texts.get("ca_file")),
        trust=trust_labels(_texts_of("trust", given["trust"])) if "trust" in given else (),
        timeout_s=_maybe(_timeout_s, texts.get("timeout")),
        labels=_labels(given.get("labels", {})),
    )


def unknown_field(name: str) -> str:
    """The reason for a field nobody knows, with the nearest known name where one is near."""
    # difflib takes quadratic time, so a long name is not compared at all.
    near = difflib.get_close_matches(name, (*FIELDS, "target", "host"), n=1) if len(name) <= 32 else []
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(FIELDS)}"
    return f"unknown field {shown(name)}; {hint}"


def canonical_path(text: str) -> str | None:
    """
    The request target (RFC 9112 §3.2.1) of a path with query; None for `/`, the same thing.

    A fragment is dropped, since it is never sent (RFC 9110 §4.2.4). Characters beyond ASCII become
    percent-encoded UTF-8 (RFC 3987 §3.1).
    """
    path = text.partition("#")[0]
    if not path.startswith("/"):
        raise Refused(f"path {shown(text)} does not start with a slash; write /{shown(text)[1:-1]}")
    refuse_controls("the path", path)
    if any(char.isspace() for char in path):
        raise Refused(f"path {shown(text)} holds white space; write %20 for a space")
    if not path.isascii():
        path = quote(path, safe="".join(map(chr, range(0x21, 0x7F))))
    if len(path) > TEXT_CHARS:
        raise Refused(f"the path has {len(path)} characters; at most {TEXT_CHARS} are allowed")
    return None if path == "/" else path


def _maybe(make: Callable[[str], _Made], text: str | None) -> _Made | None:
    return None if text is None else make(text)


def _text(name: str, value: object) -> str:
    """The text of a scalar; numbers are taken as JSON writes them."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Refused(f"field {name} must be a text or a number, not {_kind(value)}")
    text = str(value)
    if not text:
        raise Refused(f"field {name} is empty; leave it out or give it a value")
    if len(text) > TEXT_CHARS:
        raise Refused(f"field {name} has {len(text)} characters; at most {TEXT_CHARS} are allowed")
    refuse_controls(f"field {name}", text)
    return text


def _texts_of(name: str, value: object) -> list[str]:
    """The scalars of a field that may be one or a list."""
    values = value if isinstance(value, list) else [value]
    if len(values) > RANGES_MAX:
        raise Refused(f"{name} has {len(values)} values; at most {RANGES_MAX} are read")
    return [_text(name, item) for item in values]


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def _service(text: str) -> str:
    name = text.lower()
    if name not in SERVICES:
        raise Refused(f"unknown service {shown(text)}; known are {', '.join(SERVICES)}")
    return name


def _host_header(text: str) -> str:
    """`name`, `name:port` or `[address]:port` (RFC 9110 §7.2), canonical."""
    found = _HOST_PORT.fullmatch(text)
    host = canonical_host(found["address"] or found["name"]) if found else ""
    if not found or "%" in host or bool(found["address"]) != (":" in host):
        raise Refused(f"host_header {shown(text)} is not host, host:port or [address]:port")
    written = f"[{host}]" if ":" in host else host
    return written if found["port"] is None else f"{written}:{one_port(found['port'])}"


def _connect_to(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return canonical_host(bare)
    except Refused as refusal:
        # Only a colon that IPv6 does not explain is worth a word about ports.
        if bare.count(":") == 1 or "]:" in bare:
            raise Refused(f"connect_to {shown(text)} takes no port; the port is the target's own") from None
        raise Refused(f"connect_to: {refusal}") from None


def _any_or_all(text: str) -> Literal["any", "all"]:
    match text.lower():
        case "any":
            return "any"
        case "all":
            return "all"
        case _:
            raise Refused(f"expect_addresses {shown(text)} is neither any nor all")


def _ca_file(text: str, base: str) -> str:
    """A plain path: nothing is expanded; a relative one stays under the inventory's directory."""
    if os.path.isabs(text):
        return text
    path = os.path.normpath(text)
    if path.split(os.sep)[0] == os.pardir:
        raise Refused(f"ca_file {shown(text)} leaves the inventory's directory; write an absolute path")
    return os.path.join(base, path)


def _timeout_s(text: str) -> float:
    if not _DECIMAL.fullmatch(text) or not 0 < float(text) <= TIMEOUT_S_MAX:
        raise Refused(f"timeout {shown(text)} is not a number of seconds above 0 and up to {TIMEOUT_S_MAX:g}")
    return float(text)


def _labels(value: object) -> Labels:
    if not isinstance(value, Mapping):
        raise Refused(f"labels must be a mapping of names to texts, not {_kind(value)}")
    if len(value) > LABELS_MAX:
        raise Refused(f"the entry has {len(value)} labels; at most {LABELS_MAX} are kept")
    return tuple(sorted(_label(key, text) for key, text in value.items() if text is not None))


def _label(key: object, value: object) -> tuple[str, str]:
    if not isinstance(key, str) or not _LABEL_KEY.fullmatch(key) or len(key) > LABEL_KEY_CHARS:
        raise Refused(
            f"label name {shown(str(key))} must have 1 to {LABEL_KEY_CHARS} characters, no space and no ="
        )
    refuse_controls("a label name", key)
    if not isinstance(value, str | int | float):
        raise Refused(f"label {shown(key)} must be a text or a number, not {_kind(value)}")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if len(text) > LABEL_VALUE_CHARS:
        raise Refused(f"label {shown(key)} has {len(text)} characters; at most {LABEL_VALUE_CHARS} are kept")
    refuse_controls(f"label {shown(key)}", text)
    return key, text
