"""Scenario files in, scenarios out: strict reading of TOML, every error naming file and place."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from fleetprobe.lab.scenario import (
    CUT_SHORT,
    JUMBO_BYTES,
    USUAL_MTU_BYTES,
    VANTAGES,
    Certificate,
    ClientCertificate,
    DnsEntry,
    Expectation,
    Firewall,
    LabTarget,
    OwnVantage,
    Place,
    RunSettings,
    Scenario,
    Server,
    Step,
    TlsRules,
    TlsVersion,
    Verb,
)
from fleetprobe.record.columns import RESULT

BUILT_IN = Path(__file__).parent / "scenarios"
"""The scenarios that come with the package."""

DOMAIN = "lab.test"

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_STATES = ("ok", "slow", "fail", "unknown", "blocked")
_CONFIDENCES = ("proven", "observed", "inferred")
_CODE = re.compile(r"[a-z]+\.[a-z0-9_]+")
_RCODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
_TARGET_FIELDS = frozenset({
    "service", "sni", "host_header", "connect_to", "path", "ca_file", "trust", "timeout", "labels",
    "expect_status", "expect_body", "expect_addresses",
})
_SETTING = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*=[a-z0-9 ,-]+")
_NEEDS_NUMBER = frozenset({Verb.TAKE, Verb.FLIGHT, Verb.FILL, Verb.ANSWER, Verb.WAIT})
_NEEDS_TEXT = frozenset({Verb.SAY, Verb.HEX})
_ABOUT_HELLO = frozenset({Verb.ONCE, Verb.NEEDS, Verb.MINDS})
_MAX_FILE_BYTES = 64 * 1024
_MAX_WAIT_S = 60.0
_MAX_SENT_BYTES = 16 * 1024 * 1024
_MAX_PATH_BYTES = 2048
_MAX_DELAY_MS = 1000
_MIN_MTU_BYTES, _MAX_MTU_BYTES = 1280, JUMBO_BYTES

E = TypeVar("E", bound=StrEnum)


class ScenarioError(ValueError):
    """A scenario file that cannot be used; the message starts with the file's name."""


class _Table:
    """A TOML table whose every key must be asked for once; `done()` refuses the rest."""

    def __init__(self, raw: Any, file: str, place: str) -> None:
        self.file, self.place = file, place
        if not isinstance(raw, dict):
            raise self.error("must be a table")
        self.raw = dict(raw)

    def error(self, message: str) -> ScenarioError:
        where = f" [{self.place}]" if self.place else ""
        return ScenarioError(f"{self.file}{where}: {message}")

    def _take(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        if key not in self.raw:
            if default is ...:
                raise self.error(f"`{key}` is missing")
            return default
        value = self.raw.pop(key)
        # A TOML boolean is an int to Python.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f"`{key}` has the wrong type ({type(value).__name__})")
        return value

    def text(self, key: str, default: Any = ...) -> str:
        value: str = self._take(key, str, default)
        return value

    def optional_text(self, key: str) -> str | None:
        value: str | None = self._take(key, str, None)
        return value

    def integer(self, key: str, low: int, high: int, default: Any = ...) -> int:
        if default is not ... and key not in self.raw:
            return int(default)
        value: int = self._take(key, int, ...)
        if not low <= value <= high:
            raise self.error(f"`{key}` must lie between {low} and {high}, not {value}")
        return value

    def number(self, key: str, default: float) -> float:
        value = float(self._take(key, (int, float), default))
        if not 0 <= value <= _MAX_WAIT_S:
            raise self.error(f"`{key}` must lie between 0 and {_MAX_WAIT_S:g}, not {value:g}")
        return value

    def flag(self, key: str) -> bool:
        value: bool = self._take(key, bool, False)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._take(key, list, [])
        if not all(isinstance(item, str) for item in value):
            raise self.error(f"`{key}` must hold strings only")
        return tuple(value)

    def text_or_texts(self, key: str) -> tuple[str, ...]:
        return (self.text(key),) if isinstance(self.raw.get(key), str) else self.texts(key)

    def one_of(self, key: str, kind: type[E], default: Any = ...) -> E:
        return self.member(kind, key, self.text(key, default))

    def member(self, kind: type[E], key: str, value: str) -> E:
        try:
            return kind(value)
        except ValueError:
            raise self.error(f"`{key}` is {value!r}; it can be {', '.join(kind)}") from None

    def address(self, key: str) -> str:
        address = self._address(self.text(key))
        self.done()
        return address

    def addresses(self, key: str) -> tuple[str, ...]:
        return tuple(self._address(text) for text in self.texts(key))

    def _address(self, text: str) -> str:
        try:
            canonical = str(ipaddress.ip_address(text))
        except ValueError:
            raise self.error(f"{text!r} is not an IP address") from None
        if canonical != text:
            raise self.error(f"write {canonical}, not {text}")
        return text

    def tables(self, key: str) -> list[_Table]:
        rows = self._take(key, list, [])
        return [_Table(row, self.file, f"{key} {n}") for n, row in enumerate(rows, 1)]

    def by_name(self, key: str) -> dict[str, _Table]:
        rows = self._take(key, dict, {})
        return {name: _Table(row, self.file, f"{key}.{name}") for name, row in rows.items()}

    def table(self, key: str) -> _Table:
        return _Table(self._take(key, dict, {}), self.file, key)

    def done(self) -> None:
        if self.raw:
            raise self.error(f"unknown key {', '.join(sorted(self.raw))}")


def load_scenario(path: Path) -> Scenario:
    """Read one file. Raises ScenarioError for anything that is not a complete scenario."""
    name = path.name.removesuffix(".toml")
    if not _NAME.fullmatch(name):
        raise ScenarioError(f"{path.name}: the file's name must be lower-case words joined by hyphens")
    data = path.read_bytes()
    if len(data) > _MAX_FILE_BYTES:
        raise ScenarioError(f"{path.name}: larger than {_MAX_FILE_BYTES} bytes")
    try:
        raw = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path.name}: {error}") from error
    table = _Table(raw, path.name, "")
    own = _own(table.table("own")) if "own" in raw else None
    scenario = Scenario(
        name=name,
        title=table.text("title"),
        teaches=table.text("teaches"),
        needs=table.texts("needs"),
        addresses=_addresses(table.table("addresses")),
        routes=_texts_by_place(table.table("routes")),
        settings={place: _settings(table, lines) for place, lines in _texts_by_place(table.table("settings")).items()},
        hosts={key: t.address("address") for key, t in table.by_name("hosts").items()},
        own=own,
        firewalls={_place(t, key): _firewall(t) for key, t in table.by_name("firewall").items()},
        servers=tuple(_server(row) for row in table.tables("server")),
        dns=tuple(_dns(key, t) for key, t in table.by_name("dns").items()),
        run=_run(table.table("run"), own_namespace(name) if own else None),
        targets=tuple(_target(row, f"{name}#{n}") for n, row in enumerate(table.tables("target"), 1)),
    )
    table.done()
    if not scenario.targets:
        raise table.error("has no target")
    return scenario


def _place(table: _Table, key: str) -> Place:
    return table.member(Place, table.place, key)


def _addresses(table: _Table) -> dict[Place, tuple[str, ...]]:
    found = {_place(table, key): table.addresses(key) for key in list(table.raw)}
    table.done()
    return found


def _texts_by_place(table: _Table) -> dict[Place, tuple[str, ...]]:
    found = {_place(table, key): table.texts(key) for key in list(table.raw)}
    table.done()
    return found


def _settings(table: _Table, lines: tuple[str, ...]) -> tuple[str, ...]:
    for line in lines:
        if not _SETTING.fullmatch(line):
            raise table.error(f"setting {line!r}: write NAME=VALUE, with / between the parts of the name")
    return lines


def _own(table: _Table) -> OwnVantage:
    found = OwnVantage(
        number=table.integer("number", 1, 99), delay_ms=table.integer("delay_ms", 1, _MAX_DELAY_MS, 0),
        mtu_bytes=table.integer("mtu_bytes", _MIN_MTU_BYTES, _MAX_MTU_BYTES, USUAL_MTU_BYTES),
        settings=_settings(table, table.texts("settings")),
        commands=table.texts("commands"), router=table.texts("router"), output=table.texts("output"),
    )
    table.done()
    return found


def own_namespace(scenario: str) -> str:
    """The namespace of the vantage that a scenario has to itself."""
    return f"{Place.CLIENT}-{scenario}"


def _firewall(table: _Table) -> Firewall:
    found = Firewall(
        sets=table.texts("sets"), prerouting=table.texts("prerouting"), input=table.texts("input"),
        forward=table.texts("forward"), output=table.texts("output"),
    )
    table.done()
    return found


def _server(table: _Table) -> Server:
    certificate = table.text("certificate", "")
    server = Server(
        addresses=table.addresses("addresses"),
        port=table.integer("port", 1, 65535),
        place=table.one_of("place", Place, Place.SERVER),
        steps=tuple(_step(table, line) for line in table.texts("steps")),
        nginx=table.optional_text("nginx"),
        certificate=table.member(Certificate, "certificate", certificate) if certificate else None,
        tls=_tls_rules(table.table("tls")),
        names=table.texts("names"), issuer_url=table.optional_text("issuer_url"),
        backlog_full=table.flag("backlog_full"),
    )
    table.done()
    if not server.addresses:
        raise table.error("`addresses` is empty")
    if bool(server.steps) == server.backlog_full:
        raise table.error("a server has either `steps` or `backlog_full = true`")
    if server.place is not Place.SERVER and (server.backlog_full or server.nginx):
        raise table.error(f"`backlog_full` and `nginx` are for {Place.SERVER} only")
    if any(step.verb in {Verb.TLS, Verb.FLIGHT} | _ABOUT_HELLO for step in server.steps) and not server.certificate:
        raise table.error("the steps speak TLS, so `certificate` must be given")
    return server


def _tls_rules(table: _Table) -> TlsRules:
    version, asked = table.text("version", ""), table.text("client_certificate", "")
    rules = TlsRules(
        client_certificate=table.member(ClientCertificate, "client_certificate", asked) if asked else None,
        version=table.member(TlsVersion, "version", version) if version else None,
        ciphers=table.optional_text("ciphers"), named=table.flag("named"),
    )
    table.done()
    return rules


def _step(table: _Table, line: str) -> Step:
    word, _, argument = line.partition(" ")
    verb = table.member(Verb, "steps", word)
    if verb in _NEEDS_TEXT:
        valid = bool(argument)
        if verb is Verb.HEX:
            valid = valid and re.fullmatch(r"([0-9a-f]{2})+", argument) is not None
    elif verb in _ABOUT_HELLO:
        how, _, text = argument.partition(" ")
        valid = how in CUT_SHORT and bool(text) is not (verb is Verb.ONCE)
    elif verb in _NEEDS_NUMBER:
        valid = re.fullmatch(r"\d{1,8}(\.\d{1,3})?", argument) is not None
        if valid and verb is Verb.WAIT:
            valid = float(argument) <= _MAX_WAIT_S
        elif valid:
            valid = argument.isdigit() and int(argument) <= _MAX_SENT_BYTES
    else:
        valid = not argument
    if not valid:
        raise table.error(f"step {line!r}: wrong argument for `{verb}`")
    return Step(verb, argument)


def _dns(name: str, table: _Table) -> DnsEntry:
    entry = DnsEntry(
        name=name,
        addresses=table.addresses("addresses"),
        cname=table.optional_text("cname"),
        rcode=table.text("rcode", "NOERROR"),
        delay_s=table.number("delay_s", 0.0),
        silent=table.flag("silent"),
        ignores=table.optional_text("ignores"),
        truncated=table.flag("truncated"),
    )
    table.done()
    if not re.fullmatch(rf"([a-z0-9_]([a-z0-9-]*[a-z0-9])?\.)+{re.escape(DOMAIN)}", name):
        raise table.error(f"the name must be lower case and end in .{DOMAIN}")
    if entry.rcode not in _RCODES:
        raise table.error(f"`rcode` is {entry.rcode!r}; it can be {', '.join(_RCODES)}")
    if entry.ignores not in (None, "A", "AAAA"):
        raise table.error(f"`ignores` is {entry.ignores!r}; it can be A or AAAA")
    if entry.cname and entry.addresses:
        raise table.error("a name has either `cname` or `addresses`")
    return entry


def _run(table: _Table, own: str | None) -> RunSettings:
    place = table.optional_text("vantage")
    settings = RunSettings(vantage=place or own or Place.CLIENT, args=table.texts("args"))
    table.done()
    if place is not None and own is not None:
        raise table.error("a scenario with a vantage of its own is scanned from there: leave `vantage` out")
    if place is not None and place not in VANTAGES:
        raise table.error(f"`vantage` must be one of {', '.join(VANTAGES)}")
    return settings


def _target(table: _Table, case: str) -> LabTarget:
    text = table.text("target") + _long_path(table)
    lookalike = table.text("lookalike")
    expect = _expectation(table.table("expect"))
    unknown = sorted(set(table.raw) - _TARGET_FIELDS)
    if unknown:
        raise table.error(f"unknown key {', '.join(unknown)}")
    return LabTarget(case=case, target=text, fields=table.raw, expect=expect, lookalike=lookalike)


def _long_path(table: _Table) -> str:
    """The path of a target whose request is to be long: written as its length, for nobody can read 2 kB of it."""
    return "/" + "x" * (table.integer("path_bytes", 2, _MAX_PATH_BYTES) - 1) if "path_bytes" in table.raw else ""


def _columns(table: _Table) -> dict[str, str | int]:
    for name, value in table.raw.items():
        if name not in RESULT:
            raise table.error(f"{name!r} is no column of a record")
        if not isinstance(value, (str, int)):
            raise table.error(f"`{name}` must be a string or a whole number")
    return table.raw


def _expectation(table: _Table) -> Expectation:
    expect = Expectation(
        state=table.text_or_texts("state"),
        code=table.text_or_texts("code"),
        confidence=table.text_or_texts("confidence"),
        findings=table.texts("findings"),
        without=table.texts("without"),
        says=table.texts("says"),
        columns=_columns(table.table("columns")),
    )
    table.done()
    _check_words(table, expect)
    if not expect.state:
        raise table.error("`state` is missing")
    by_chance = len(expect.state) > 1 and not expect.code
    if by_chance and not expect.without:
        raise table.error("where the state is chance and no `code` is given, `without` must say what is wrong")
    if not by_chance and ("ok" in expect.state) is bool(expect.code):
        raise table.error("a target has a `code` exactly when its state is not ok")
    return expect


def _check_words(table: _Table, expect: Expectation) -> None:
    for key, words, known in (
        ("state", expect.state, _STATES), ("confidence", expect.confidence, _CONFIDENCES),
    ):
        for word in words:
            if word not in known:
                raise table.error(f"`{key}` is {word!r}; it can be {', '.join(known)}")
    for code in (*expect.findings, *expect.without, *expect.code):
        if not _CODE.fullmatch(code):
            raise table.error(f"{code!r} is not a code")
