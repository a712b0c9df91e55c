"""YAML read event by event: a list of specs and mappings, or a mapping of `defaults` and `targets`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO, NoReturn

import yaml

from fleetprobe.inventory.refused import Refused, bad_line, shown
from fleetprobe.inventory.row import Read, Row, row_of_mapping

FILE_BYTES = 64 * 1024 * 1024
DEPTH_MAX = 12
ENTRY_NODES_MAX = 4096
_RAW_BYTES = 2048

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})

_Scalar = yaml.events.ScalarEvent
_Start = yaml.events.CollectionStartEvent
_End = yaml.events.CollectionEndEvent


class _Stopped(Exception):
    """The rest of the file cannot be read; `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def rows(stream: BinaryIO, name: str) -> Iterator[Read]:
    """
    One `Row` or `BadLine` for each entry, with the line it begins on.

    Scalars are texts exactly as written (`no` is no, `0443` is no octal number); a plain `null`, `~` or
    nothing counts as absent and also takes back a default. Anchors, aliases, tags and doubled keys make an
    entry bad; a syntax error or nesting deeper than 12 makes the rest of the file one `BadLine`. At most
    64 MiB are read.
    """
    data = stream.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        yield bad_line(f"{name}:1", "", f"the file is larger than {FILE_BYTES} bytes; split it")
        return
    document = _Document(data, name)
    try:
        yield from document.rows()
    except _Stopped as stop:
        yield document.bad(stop.line, f"{stop}; nothing behind it was read")


class _Document:
    """A walk over the events of one file, keeping at most one entry in memory."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._events = yaml.parse(data, Loader=_LOADER)
        self._nodes = 0
        self._problem: str | None = None
        self._line, self._offset = 1, 0
        self._defaults: Mapping[str, object] = {}

    def rows(self) -> Iterator[Read]:
        """The entries of every document in the file."""
        while (event := self._next()) is not None:
            if isinstance(event, yaml.events.SequenceStartEvent):
                yield from self._entries(event)
            elif isinstance(event, yaml.events.MappingStartEvent):
                yield from self._sections(event)
            elif isinstance(event, yaml.events.NodeEvent) and getattr(event, "value", None) != "":
                yield self.bad(_line_of(event), "the file is neither a list nor a mapping with targets")

    def bad(self, line: int, reason: str) -> Read:
        """A `BadLine` that shows the physical line `line`."""
        return bad_line(f"{self._name}:{line}", self._text_of(line), reason)

    def _sections(self, start: yaml.Event) -> Iterator[Read]:
        """`defaults`, then `targets`; the order matters because entries are handed on as they come."""
        self._defaults = {}
        begun = False
        while not isinstance(key := self._required(), _End):
            line, name = _line_of(key), getattr(key, "value", None)
            value = self._required()
            if name == "targets" and isinstance(value, yaml.events.SequenceStartEvent):
                begun = True
                yield from self._entries(value)
            elif name == "defaults" and not begun:
                problem = self._take_defaults(value)
                if problem:
                    raise _Stopped(line, problem)
            elif name == "defaults":
                raise _Stopped(line, "defaults come after targets; put them before")
            else:
                yield self._odd_section(key, value, line)

    def _odd_section(self, key: yaml.Event, value: yaml.Event, line: int) -> Read:
        if isinstance(key, _Start):
            raise _Stopped(line, "a key of the file is a list or mapping; use defaults and targets")
        self._build(value)
        name = shown(str(getattr(key, "value", "an alias")))
        reason = f"section {name} is not understood; a file has defaults (a mapping) and targets (a list)"
        return self.bad(line, reason)

    def _take_defaults(self, value: yaml.Event) -> str | None:
        built = self._build(value)
        if not isinstance(built, Mapping):
            return self._problem or "defaults must be a mapping of fields"
        odd = sorted(key for key in ("target", "host") if key in built)
        if odd:
            return f"defaults cannot hold {odd[0]}"
        self._defaults = built
        return self._problem

    def _entries(self, start: yaml.Event) -> Iterator[Read]:
        while not isinstance(event := self._required(), _End):
            line = _line_of(event)
            value = self._build(event)
            if self._problem:
                yield self.bad(line, self._problem)
                continue
            try:
                yield self._entry(value, line)
            except Refused as refusal:
                yield self.bad(line, str(refusal))

    def _entry(self, value: object, line: int) -> Row:
        source, raw = f"{self._name}:{line}", self._text_of(line)
        match value:
            case str():
                return Row(spec=value, fields=self._defaults, source=source, raw=raw)
            case Mapping():
                return row_of_mapping(_over(self._defaults, value), source, raw)
            case _:
                raise Refused("an entry is a text like host:port or a mapping; put [v6]:port in quotes")

    def _build(self, event: yaml.Event) -> object:
        """The text, list or mapping that begins with `event`; what is wrong with it goes to `_problem`."""
        self._nodes = 0
        self._problem = None
        return self._value(event, 1)

    def _value(self, event: yaml.Event, depth: int) -> object:
        self._nodes += 1
        # The parser's own cost grows with the square of the depth, so going on is not an option.
        if depth > DEPTH_MAX:
            raise _Stopped(_line_of(event), f"the nesting is deeper than {DEPTH_MAX}")
        if self._nodes > ENTRY_NODES_MAX:
            raise _Stopped(_line_of(event), f"an entry has more than {ENTRY_NODES_MAX} values")
        if isinstance(event, yaml.events.AliasEvent) or getattr(event, "anchor", None) is not None:
            self._blame("anchors and aliases are not accepted; write the value out")
        if getattr(event, "tag", None) is not None:
            self._blame("tags are not accepted; write the plain value")
        if isinstance(event, yaml.events.SequenceStartEvent):
            return self._list(depth)
        if isinstance(event, yaml.events.MappingStartEvent):
            return self._mapping(depth)
        return _scalar(event) if isinstance(event, _Scalar) else None

    def _list(self, depth: int) -> list[object]:
        items: list[object] = []
        while not isinstance(event := self._required(), _End):
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, object]:
        items: dict[str, object] = {}
        while not isinstance(event := self._required(), _End):
            key = self._value(event, depth + 1)
            value = self._value(self._required(), depth + 1)
            if not isinstance(key, str):
                self._blame("a key is not a text")
            elif key in items:
                self._blame(f"key {shown(key)} occurs twice; keep one")
            else:
                items[key] = value
        return items

    def _blame(self, problem: str) -> None:
        self._problem = self._problem or problem

    def _required(self) -> yaml.Event:
        event = self._next()
        if event is None:
            raise _Stopped(self._line, "the file ends within an entry")
        return event

    def _next(self) -> yaml.Event | None:
        try:
            return next(self._events, None)
        except yaml.YAMLError as error:
            self._stop_at(error)

    def _stop_at(self, error: yaml.YAMLError) -> NoReturn:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        line = mark.line + 1 if mark is not None else self._line
        hint = " (an address in brackets needs quotes)" if "]:" in self._text_of(line) else ""
        raise _Stopped(line, f"not YAML: {ascii(str(why))[1:-1][:120]}{hint}") from error

    def _text_of(self, line: int) -> str:
        """Physical line `line`. The place is kept, so that a walk forward costs one pass over the file."""
        if line < self._line:
            self._line, self._offset = 1, 0
        while self._line < line and (end := self._data.find(b"\n", self._offset)) >= 0:
            self._line, self._offset = self._line + 1, end + 1
        # Never looked at in full: a whole file may be one line with a million entries.
        head = self._data[self._offset : self._offset + _RAW_BYTES]
        return head.partition(b"\n")[0].decode("utf-8", "backslashreplace").rstrip("\r")


def _scalar(event: yaml.events.ScalarEvent) -> str | None:
    text = str(event.value)
    # Plain style is None in the pure parser and "" in the C one.
    return None if not event.style and text in _NULLS else text


def _over(defaults: Mapping[str, object], entry: Mapping[str, object]) -> dict[str, object]:
    merged = {**defaults, **entry}
    ours, theirs = entry.get("labels"), defaults.get("labels")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        merged["labels"] = {**theirs, **ours}
    return merged


def _line_of(event: yaml.Event) -> int:
    mark = event.start_mark
    return int(mark.line) + 1 if mark is not None else 1
