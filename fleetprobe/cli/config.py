"""Flags from a file: the table [scan] of fleetprobe.toml stands behind command line and environment."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import typer

from fleetprobe.inventory.refused import shown

DEFAULT_NAME: Final = "fleetprobe.toml"
TABLE: Final = "scan"

_MOST_BYTES: Final = 1 << 20
_NOT_IN_A_FILE: Final = frozenset({"config", "no-config", "help"})


class ConfigError(Exception):
    """A configuration file that cannot be used: one line that names the file and the key, if there is one."""


def use_none(context: typer.Context, value: bool) -> bool:
    """Callback of --no-config: forget what a file said."""
    if value:
        context.default_map = None
    return value


def use_file(context: typer.Context, value: Path | None) -> Path | None:
    """Callback of --config: the file's values stand in for flags that are not given. Raises BadParameter."""
    if context.resilient_parsing or context.params.get("no_config"):
        return value
    path = value or Path(DEFAULT_NAME)
    if value is None and not path.is_file():
        return value
    try:
        table = read(path)
        root: Any = context.find_root().command  # a group, which the type does not say
        known = _flags(root.commands[TABLE])
        _refuse_unknown(path, table, known)
        values = {known[key].name: _value(path, key, given, known[key]) for key, given in table.items()}
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint="'--config'") from None
    context.default_map = values
    return value


def read(path: Path) -> Mapping[str, Any]:
    """The table [scan] of a file; empty when there is none. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {shown(str(path))}: {error.strerror}") from None
    if len(text) > _MOST_BYTES:
        raise ConfigError(f"{shown(str(path))} is larger than {_MOST_BYTES} bytes")
    try:
        tables = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{shown(str(path))} is not TOML: {ascii(str(error))[1:-1][:120]}") from None
    for name, table in tables.items():
        if name != TABLE or not isinstance(table, dict):
            raise ConfigError(f"{shown(str(path))} holds {shown(name)}; known is only the table [{TABLE}]")
    found: Mapping[str, Any] = tables.get(TABLE, {})
    return found


def _flags(command: Any) -> dict[str, Any]:
    """The command's flags by long name without dashes."""
    named = ((opt.removeprefix("--"), one) for one in command.params for opt in one.opts if opt[:2] == "--")
    return {name: one for name, one in named if name not in _NOT_IN_A_FILE}


def _refuse_unknown(path: Path, table: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key in table:
        if key not in known:
            flags = ", ".join(sorted(known))
            raise ConfigError(f"{shown(str(path))}, key {shown(key)}: no such flag; known are {flags}")


def _value(path: Path, key: str, given: Any, option: Any) -> Any:
    """The value as the command line would have given it. Raises ConfigError for another kind of value."""
    if option.is_flag:
        if isinstance(given, bool):
            return given
        raise ConfigError(f"{shown(str(path))}, key {shown(key)}: must be true or false")
    if option.multiple:
        items = given if isinstance(given, list) else [given]
        if all(isinstance(item, str) for item in items):
            return items
        raise ConfigError(f"{shown(str(path))}, key {shown(key)}: must be a text or a list of texts")
    if isinstance(given, str | int | float) and not isinstance(given, bool):
        return str(given)
    raise ConfigError(f"{shown(str(path))}, key {shown(key)}: must be a text or a number")
