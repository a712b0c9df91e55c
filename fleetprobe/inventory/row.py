"""What every format reader hands on: one spec with its fields, not yet judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetprobe.inventory.refused import Refused, shown
from fleetprobe.model.target import BadLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One entry of an inventory as its format gave it."""

    spec: str
    fields: Mapping[str, object] = field(default_factory=dict)
    """Field name to text, number, list or mapping; never None."""
    source: str
    """`file:line`."""
    raw: str
    """The line as read, for a `BadLine`."""
    recorded_id: str | None = None
    """The `target_id` of the result record this row comes from; the parsed target must have the same."""


Read = Row | BadLine


def row_of_mapping(value: dict[str, object], source: str, raw: str) -> Row:
    """The row in a mapping: `target` or `host` is the spec, every other key a field. Raises `Refused`."""
    given = {key: item for key, item in value.items() if item is not None}
    specs = [key for key in ("target", "host") if key in given]
    if len(specs) != 1:
        raise Refused("the entry must have either target or host" + (", not both" if specs else ""))
    spec = given.pop(specs[0])
    if not isinstance(spec, str):
        raise Refused(f"{specs[0]} must be a text; {shown(str(spec)[:80])} is not in quotes")
    return Row(spec=spec, fields=given, source=source, raw=raw)
