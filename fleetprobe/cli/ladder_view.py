"""One target in full, drawn from its record alone: the ladder, the time, the verdict and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fleetprobe.cli.chain_view import chain_view
from fleetprobe.cli.evidence import evidence, milliseconds
from fleetprobe.cli.shell_words import folded
from fleetprobe.cli.sizes_view import sizes_view
from fleetprobe.cli.terminal import UNICODE, Marks, said
from fleetprobe.cli.waterfall import remark, waterfall
from fleetprobe.cli.witness_view import sockets, witness_facts, witness_of
from fleetprobe.codes.table import CODES
from fleetprobe.model.safe import printable

Row = Mapping[str, Any]

_WIDEST: Final = 100
_NARROWEST: Final = 40
_LABEL_COLUMNS: Final = 14
_RUNG_COLUMNS: Final = 26
_LISTED: Final = 32
_COMMAND_CHARACTERS: Final = 2000
_WITNESS_INDENT: Final = 12
_WITNESS_COLUMNS: Final = 11
_PHASES: Final = {
    "dns": "dns_duration_ms", "tcp": "tcp_connect_duration_ms", "tls": "tls_handshake_duration_ms",
}
_HERE: Final = ("vantage", "network_local_address")

STATE_STYLES: Final = {
    "ok": "bold green",
    "slow": "bold yellow",
    "fail": "bold red",
    "unknown": "bold magenta",
    "blocked": "bold cyan",
}
_OUTCOME_STYLES: Final = {"pass": "green", "warn": "yellow", "fail": "bold red", "unknown": "magenta"}
_STATE_OUTCOMES: Final = {"ok": "pass", "slow": "warn", "fail": "fail", "blocked": "unknown"}


def ladder_view(row: Row, marks: Marks = UNICODE, width: int = 80) -> RenderableType:
    """
    Everything a result record says about its target, top rung first, the vantage at the foot.

    Needs nothing beyond the record, so that stored ones can be drawn later; whatever it holds is made safe.
    Lines keep to `width` columns (40 to 100), except words of a command that are longer.
    """
    width = max(_NARROWEST, min(width, _WIDEST))
    parts: list[RenderableType] = [_title(row, marks, width), _ladder(row, marks, width)]
    if (chain := chain_view(row, marks, width)) is not None:
        parts += [Text(""), chain]
    if (sizes := sizes_view(row, marks, width - 2)) is not None:
        parts += [Text(""), Padding(sizes, (0, 0, 0, 2))]
    bars = waterfall(row, marks, max(8, width - 30))
    if bars is not None:
        parts += [Text(""), Padding(bars, (0, 0, 0, 2)), *(Padding(line, (0, 0, 0, 2)) for line in remark(row, marks))]
    parts += [Text(""), _verdict(row, marks, width)]
    sections = [section for tell in _SECTIONS for section in tell(row, marks, width)]
    if sections:
        parts += [Text(""), *_sections(sections)]
    return Group(*parts)


def mark_of(outcome: object, marks: Marks) -> Text:
    """The sign of an outcome (`pass warn fail unknown skipped`) or a state, in its colour."""
    word = _STATE_OUTCOMES.get(str(outcome), str(outcome))
    signs = {"pass": marks.passed, "warn": marks.warned, "fail": marks.failed, "skipped": marks.skipped}
    return Text(signs.get(word, marks.unknown), style=_OUTCOME_STYLES.get(word, "dim"))


def _title(row: Row, marks: Marks, width: int) -> RenderableType:
    title = said(row.get("target"), "bold", 300)
    title.append_text(said(f"  from {row.get('vantage')}, {row.get('started_at')}", "dim", 200))
    return Group(title, Text(marks.rule * width, style="dim"))


def _ladder(row: Row, marks: Marks, width: int) -> RenderableType:
    rungs, again = _rungs(row)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=8, justify="right", no_wrap=True, style="bold")
    grid.add_column(width=5, no_wrap=True)
    grid.add_column(width=9, justify="right", no_wrap=True)
    grid.add_column(width=width - _RUNG_COLUMNS, overflow="fold")
    now = _moment(row.get("started_at"))
    for rung in reversed(rungs):
        lines = _rung_lines(rung, now, width - _RUNG_COLUMNS)
        layer = said(rung.get("layer"), limit=8)
        spent = Text(milliseconds(_spent(rung, row)))
        grid.add_row(layer, _rung(rung.get("outcome"), marks), spent, lines[0])
        for line in lines[1:]:
            grid.add_row(Text(""), Text(f"{marks.rail}   {marks.rail}", style="dim"), Text(""), line)
    foot = said(" ".join(str(row[name]) for name in _HERE if row.get(name)), "dim", 200)
    grid.add_row(Text(""), Text(marks.rule * 5, style="dim"), Text(""), foot)
    return Group(grid, *(_again(step, marks, width) for step in again[:_LISTED]))


def _spent(rung: Row, row: Row) -> object:
    """The phase's own time, as the bars show it; the step's, which counts our own lateness too, where it is none."""
    phase = row.get(_PHASES.get(str(rung.get("layer")), ""))
    return rung.get("duration_ms") if phase is None else phase


def _rungs(row: Row) -> tuple[list[Row], list[Row]]:
    """The rungs from the ground up, one a layer, and the steps that went over a layer again."""
    first: dict[str, Row] = {}
    again: list[Row] = []
    for step in _rows(row.get("layers")):
        name = str(step.get("layer"))
        if name in first:
            again.append(step)
        else:
            first[name] = step
    return list(first.values()), again


def _rung(outcome: object, marks: Marks) -> Text:
    sign = mark_of(outcome, marks)
    if outcome == "skipped":
        return Text.assemble((marks.rail, "dim"), " ", sign, " ", (marks.rail, "dim"))
    # A rung that holds reaches from rail to rail; a broken one does not.
    span = " " if outcome == "fail" else marks.rung
    return Text.assemble((marks.rung_left + span, "dim"), sign, (span + marks.rung_right, "dim"))


def _rung_lines(rung: Row, now: datetime, width: int) -> list[Text]:
    if rung.get("outcome") == "skipped":
        return [Text("not reached", style="dim")]
    # Wrapped here and not by the table, so that the rails go on beside every line.
    told = [
        Text(line)
        for long in evidence(str(rung.get("layer")), rung.get("facts"), now)
        for line in wrap(long, width, break_on_hyphens=False)
    ]
    code = rung.get("code")
    if code is None:
        return told or [Text("")]
    style = _OUTCOME_STYLES.get(str(rung.get("outcome")), "")
    return [said(code, style, 80), *told]


def _again(step: Row, marks: Marks, width: int) -> RenderableType:
    """A step that a witness took over a layer seen before, and what it saw there."""
    line = Text("         ")
    line.append_text(mark_of(step.get("outcome"), marks))
    facts = step.get("facts")
    code, spent = str(step.get("code") or ""), milliseconds(step.get("duration_ms"))
    words = [witness_of(facts), str(step.get("layer")), code, spent]
    line.append_text(said("  " + "  ".join(word for word in words if word), "dim", 120))
    told = witness_facts(facts, marks)
    if not told:
        return line
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_WITNESS_COLUMNS, no_wrap=True, style="dim")
    grid.add_column(width=width - _WITNESS_INDENT - _WITNESS_COLUMNS - 1, overflow="fold")
    for label, text in told:
        grid.add_row(Text(label), Text(text))
    return Group(line, Padding(grid, (0, 0, 0, _WITNESS_INDENT)))


def _verdict(row: Row, marks: Marks, width: int) -> RenderableType:
    state = str(row.get("state"))
    head = Text("  ")
    head.append_text(said(f" {state.upper()} ", STATE_STYLES.get(state, "bold") + " reverse", 40))
    summary = said(row.get("summary") or "", limit=400)
    if not row.get("code"):
        return Text.assemble(head, "  ", summary)
    head.append_text(said(f"  {row['code']}", STATE_STYLES.get(state, "bold"), 80))
    if row.get("confidence"):
        head.append_text(said(f"  {row['confidence']}", "bold", 40))
        head.append_text(Text(_CONFIDENCE.get(str(row["confidence"]), ""), style="dim"))
    if row.get("settled") is False:
        head.append("  may still be amended", style="dim")
    return Group(head, Padding(summary, (0, 0, 0, 2)))


_CONFIDENCE: Final = {
    "proven": ": a test that flips it was made",
    "observed": ": one unambiguous event",
    "inferred": ": fits what was seen; others fit too",
}

Section = tuple[str, RenderableType]


def _not_this(row: Row, marks: Marks, width: int) -> list[Section]:
    return _bullets("not this", _texts(row.get("not_this")), marks)


def _could_also_be(row: Row, marks: Marks, width: int) -> list[Section]:
    told = []
    for name in _texts(row.get("could_also_be")):
        known = CODES.get(name)
        told.append(f"{name}: {known.meaning}" if known else name)
    return _bullets("could also be", told, marks)


def _verify(row: Row, marks: Marks, width: int) -> list[Section]:
    return _commands("verify by hand", _texts(row.get("repro")), width)


def _fix(row: Row, marks: Marks, width: int) -> list[Section]:
    sentence = row.get("fix")
    told: list[Section] = [("fix", said(sentence, limit=400))] if sentence else []
    commands = _commands("" if told else "fix", _texts(row.get("fix_commands")), width)
    return told + commands


def _findings(row: Row, marks: Marks, width: int) -> list[Section]:
    lines = []
    for finding in _rows(row.get("findings"))[:_LISTED]:
        severity = str(finding.get("severity"))
        line = mark_of({"info": "pass"}.get(severity, severity), marks)
        line.append_text(said(f" {finding.get('code')} ", "bold", 80))
        line.append_text(said(finding.get("summary") or "", limit=400))
        lines.append(line)
    return [("also seen" if at == 0 else "", line) for at, line in enumerate(lines)]


def _addresses(row: Row, marks: Marks, width: int) -> list[Section]:
    addresses = _rows(row.get("addresses"))
    if len(addresses) < 2:
        return []
    grid = Table.grid(padding=(0, 1))
    for _ in range(3):
        # Not the ellipsis of rich, which an ASCII terminal cannot show.
        grid.add_column(no_wrap=True, overflow="crop")
    grid.add_column(justify="right", no_wrap=True, overflow="crop")
    for one in addresses[:_LISTED]:
        grid.add_row(
            mark_of(one.get("outcome"), marks),
            said(one.get("address"), limit=60),
            said(one.get("code") or one.get("outcome"), limit=40),
            Text(milliseconds(one.get("duration_ms"))),
        )
    return [("addresses", grid)]


def _sockets(row: Row, marks: Marks, width: int) -> list[Section]:
    return [("sockets" if at == 0 else "", line) for at, line in enumerate(sockets(row.get("attempts")))]


def _labels(row: Row, marks: Marks, width: int) -> list[Section]:
    labels = row.get("labels")
    pairs = list(labels.items())[:_LISTED] if isinstance(labels, Mapping) else []
    told = ", ".join(f"{printable(str(name), 60)}={printable(str(value), 120)}" for name, value in pairs)
    return [("labels", Text(told, style="dim"))] if pairs else []


_SECTIONS: Final[Sequence[Callable[[Row, Marks, int], list[Section]]]] = (
    _not_this,
    _could_also_be,
    _verify,
    _fix,
    _findings,
    _addresses,
    _sockets,
    _labels,
)


def _sections(sections: Sequence[Section]) -> list[RenderableType]:
    """Labels on the left, what they say on the right. Commands stand by themselves, as a table would cut them off."""
    parts: list[RenderableType] = []
    grid: Table | None = None
    for label, content in sections:
        if isinstance(content, Text) and content.no_wrap:
            parts.append(_in_full(label, content))
            grid = None
            continue
        if grid is None:
            grid = Table.grid(padding=(0, 2))
            grid.add_column(width=_LABEL_COLUMNS, style="bold", no_wrap=True)
            grid.add_column(overflow="fold")
            parts.append(Padding(grid, (0, 0, 0, 2)))
        grid.add_row(Text(label), content)
    return parts


def _in_full(label: str, command: Text) -> Text:
    lines = command.plain.splitlines()
    margin = " " * (_LABEL_COLUMNS + 4)
    text = Text.assemble("  ", (label.ljust(_LABEL_COLUMNS), "bold"), "  ")
    text.append(f"\n{margin}".join(lines), command.style)
    text.no_wrap, text.overflow = True, "ignore"
    return text


def _bullets(label: str, told: Sequence[str], marks: Marks) -> list[Section]:
    lines = []
    for text in told:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=1)
        line.add_column(overflow="fold")
        line.add_row(Text(marks.bullet, style="dim"), said(text, limit=400))
        lines.append(line)
    return [(label if at == 0 else "", line) for at, line in enumerate(lines)]


def _commands(label: str, commands: Sequence[str], width: int) -> list[Section]:
    sections: list[Section] = []
    room = width - _LABEL_COLUMNS - 6
    for command in commands:
        safe = printable(command, _COMMAND_CHARACTERS)
        lines = folded(safe, room)
        text = Text("\n".join(["$ " + lines[0], *("  " + line for line in lines[1:])]), style="cyan")
        text.no_wrap, text.overflow = True, "ignore"
        sections.append((label if not sections else "", text))
    return sections


def _rows(value: object) -> list[Row]:
    return [one for one in value[:256] if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _texts(value: object) -> list[str]:
    return [str(one) for one in value[:_LISTED]] if isinstance(value, list | tuple) else []


def _moment(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.now(UTC)
    return moment.replace(tzinfo=moment.tzinfo or UTC)
