"""`fleetprobe lab`: the fault laboratory from the command line."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetprobe.cli.flags import Color, ColorFlag

if TYPE_CHECKING:
    from rich.console import Console

    from fleetprobe.cli.terminal import Marks
    from fleetprobe.lab.lab import Lab
    from fleetprobe.lab.scenario import LabTarget

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

NameFlag = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Which lab; several can be up at once.")
]
ScenariosFlag = Annotated[
    Path | None,
    typer.Option("--scenarios", metavar="DIR", help="Scenario files in place of the built-in ones."),
]
LifetimeFlag = Annotated[
    float, typer.Option("--lifetime", metavar="S", min=10.0, help="The lab ends by itself after S seconds.")
]
_LIFETIME_S = 7200.0
_SIDE_BY_SIDE = 6


@app.callback()
def lab() -> None:
    """A small routed network in namespaces, with real servers and known faults; no root needed."""


@app.command("list")
def list_(scenarios: ScenariosFlag = None, color: ColorFlag = Color.AUTO) -> None:
    """List the scenarios: what is broken, and what must be said of it."""
    from rich.text import Text

    from fleetprobe.lab.fleet import load_fleet
    from fleetprobe.lab.load import BUILT_IN

    with _told():
        fleet = load_fleet(scenarios or BUILT_IN)
    on, _ = _view(color)
    for scenario in fleet:
        expected = dict.fromkeys(
            word for target in scenario.targets for word in target.expect.code or target.expect.state
        )
        line = Text.assemble(
            (scenario.name, "bold"),
            (f"  {len(scenario.targets)} targets", "dim"),
            f"  {', '.join(expected)}",
            (f"\n    {scenario.title}", "dim"),
        )
        on.print(line, soft_wrap=True)
    targets = sum(len(scenario.targets) for scenario in fleet)
    on.print(Text(f"{len(fleet)} scenarios, {targets} targets", style="bold"))


@app.command()
def up(
    name: NameFlag = "default", scenarios: ScenariosFlag = None, lifetime: LifetimeFlag = _LIFETIME_S
) -> None:
    """Bring the lab up and leave it running; says what is missing where it cannot come up."""
    from fleetprobe.cli.terminal import put
    from fleetprobe.lab.lab import Lab
    from fleetprobe.lab.load import BUILT_IN

    with _told():
        status = Lab(name).up(scenarios or BUILT_IN, lifetime_s=lifetime)
    ends = time.strftime("%H:%M:%S", time.localtime(status.ends_at))
    put(f"lab {name} is up until {ends} ({status.http_server}, {status.name_server}); ")
    put("try `fleetprobe lab scan`, `lab check NAME`, `lab shell`, and `lab down` at the end\n")


@app.command()
def down(name: NameFlag = "default") -> None:
    """End the lab and everything in it."""
    from fleetprobe.cli.terminal import put
    from fleetprobe.lab.lab import Lab

    with _told():
        ended = Lab(name).down()
    put(f"lab {name} is down\n" if ended else f"lab {name} was not up\n")


@app.command()
def shell(
    name: NameFlag = "default",
    place: Annotated[
        str,
        typer.Option("--place", help="Where: cl the client, cl4 without IPv6, r1 r2 r3 routers, sv servers."),
    ] = "cl",
    scenarios: ScenariosFlag = None,
) -> None:
    """Open a shell inside, to try ping, openssl and curl by hand; brings the lab up for it if need be."""
    from fleetprobe.lab.scenario import Place

    if place not in set(Place):
        raise typer.BadParameter(f"one of {', '.join(Place)}", param_hint="'--place'")
    with _told(), _lab(name, scenarios) as found, _signals_are_the_childs():
        code = found.shell(Place(place))
    raise typer.Exit(code)


@app.command()
def scan(
    only: Annotated[
        list[str] | None, typer.Argument(metavar="SCENARIO", help="Only these scenarios; by default all.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Records; by default results/lab-TIME.jsonl."),
    ] = None,
    verdicts: Annotated[
        bool, typer.Option("--verdicts", help="Show the scanner's own view and progress as well.")
    ] = False,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="List only what differs from the expectation.")
    ] = False,
    loopback: Annotated[
        bool,
        typer.Option("--loopback", help="No network of its own: what fits is served on 127.0.0.1 and ::1."),
    ] = False,
    name: NameFlag = "default",
    scenarios: ScenariosFlag = None,
    color: ColorFlag = Color.AUTO,
) -> None:
    """Scan the lab with the real scanner and hold what it found against what is expected.

    Brings the lab up for as long if it is not up. Exit code: 0 when every target got its verdict, else 1.
    """
    from fleetprobe.cli.grade_view import grade_view
    from fleetprobe.cli.terminal import show
    from fleetprobe.lab.grade import Grade, grade

    path = output or Path("results") / time.strftime("lab-%Y%m%dT%H%M%SZ.jsonl", time.gmtime())
    path.parent.mkdir(parents=True, exist_ok=True)
    args = ["--format", "human", "--color", str(color)] if verdicts else ["--quiet"]
    if loopback:
        targets = _scan_loopback(tuple(only or ()), path, args)
    else:
        with _told(), _lab(name, scenarios, only or ()) as found:
            targets = [target for target in _targets(found) if not only or _scenario(target) in only]
            _scan(found, targets, path, args)
    rows = grade(_records(path), targets)
    on, marks = _view(color)
    show(on, grade_view(rows, marks, on.width, wrong_only=wrong, records=str(path)))
    raise typer.Exit(0 if all(row.grade is Grade.RIGHT for row in rows) else 1)


@app.command()
def check(
    what: Annotated[
        str, typer.Argument(metavar="NAME", help="A scenario, a case like SCENARIO#1, or any target at all.")
    ],
    name: NameFlag = "default",
    scenarios: ScenariosFlag = None,
    color: ColorFlag = Color.AUTO,
) -> None:
    """Draw the ladder of a scenario's targets, asked from inside the lab, and what was expected of each."""
    with _told(), _lab(name, scenarios) as found:
        targets = [one for one in _targets(found) if what in (_scenario(one), one.case, one.target)]
        if not targets:
            raise typer.Exit(_check_by_hand(found, what, color))
        with tempfile.TemporaryDirectory(prefix="fleetprobe-") as folder:
            path = Path(folder) / "records.jsonl"
            _scan(found, targets, path, ["--quiet"])
            records = _records(path)
    raise typer.Exit(_draw(records, targets, color))


def _draw(records: list[dict[str, Any]], targets: Sequence[LabTarget], color: Color) -> int:
    from rich.text import Text

    from fleetprobe.cli.ladder_view import ladder_view
    from fleetprobe.cli.terminal import show
    from fleetprobe.lab.grade import Grade, grade
    from fleetprobe.record.amend import apply_amends

    on, marks = _view(color)
    rows = {row.case: row for row in grade(records, targets)}
    for record in apply_amends(records):
        case = (record.get("labels") or {}).get("case")
        if case not in rows:
            continue
        row = rows[case]
        told = Text(f"  expected here  {row.expected}{'' if row.grade is Grade.RIGHT else f': {row.why}'}\n")
        told.stylize("green" if row.grade is Grade.RIGHT else "bold red")
        show(on, ladder_view(record, marks, on.width))
        show(on, told)
    return 0 if all(row.grade is Grade.RIGHT for row in rows.values()) else 1


def _check_by_hand(found: Lab, target: str, color: Color) -> int:
    """Any target, from the client's place, with the lab's authority trusted."""
    from fleetprobe.lab.scenario import Place

    argv = [sys.executable, "-m", "fleetprobe", "check", "--no-config", "--ca-file", str(found.ca_file)]
    argv += ["--color", str(color), "--format", "human", "--", target]
    with _signals_are_the_childs():
        return found.run_in(Place.CLIENT, argv, capture=False).returncode


def _scan(found: Lab, targets: Sequence[LabTarget], path: Path, args: Sequence[str]) -> None:
    """One segment of `path` for each group of targets that needs its own run; the small ones side by side."""
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    wanted = {target.case for target in targets}
    kept = ((group, tuple(one for one in group.targets if one.case in wanted)) for group in found.groups())
    groups = [replace(group, targets=some) for group, some in kept if some]
    words = ["--no-config", *args]
    with _signals_are_the_childs(), TemporaryDirectory() as folder:
        first = found.scan(groups[0], path, args=words)
        _must_have_run(first.returncode)
        again = partial(found.scan, args=words, capture=True)
        parts = [Path(folder, f"{number}.jsonl") for number in range(1, len(groups))]
        with ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE) as pool:
            for done, part in zip(pool.map(again, groups[1:], parts), parts, strict=True):
                sys.stdout.write(done.stdout)
                sys.stderr.write(done.stderr)
                _must_have_run(done.returncode)
                with path.open("ab") as whole:
                    whole.write(part.read_bytes())


def _must_have_run(code: int) -> None:
    """Faults, blocked and undecided targets are what a lab is for; anything else ends the command."""
    if code not in (0, 1, 3):
        raise typer.Exit(code)


def _scan_loopback(only: tuple[str, ...], path: Path, args: Sequence[str]) -> list[LabTarget]:
    """The fleet that needs no namespaces, served and scanned on this machine's own addresses."""
    from fleetprobe.lab.loopback import Loopback

    with _told(), _signals_are_the_childs():
        fleet = Loopback(only)
        targets = list(fleet.up())
        try:
            done = fleet.scan(path, args=["--no-config", *args])
        finally:
            fleet.down()
    if done.returncode not in (0, 1, 3):
        raise typer.Exit(done.returncode)
    return targets


def _targets(found: Lab) -> list[LabTarget]:
    return [target for group in found.groups() for target in group.targets]


def _scenario(target: LabTarget) -> str:
    return target.case.partition("#")[0]


def _records(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="ascii") as file:
        return [json.loads(line) for line in file]


def _view(color: Color) -> tuple[Console, Marks]:
    from fleetprobe.cli.terminal import console, marks_for

    return console(color), marks_for(sys.stdout.encoding)


@contextmanager
def _lab(name: str, scenarios: Path | None, only: Iterable[str] = ()) -> Iterator[Lab]:
    """The lab of that name if it is up, else one that ends with this process."""
    from fleetprobe.cli.terminal import warn
    from fleetprobe.lab.lab import Lab
    from fleetprobe.lab.load import BUILT_IN

    found = Lab(name)
    up_already = found.status() is not None
    if not up_already:
        if sys.stderr.isatty():
            warn("bringing the lab up")
        found.up(scenarios or BUILT_IN, tuple(only), ephemeral=True)
    try:
        yield found
    finally:
        if not up_already:
            found.down()


@contextmanager
def _told() -> Iterator[None]:
    """What a lab cannot do is one message and exit 2."""
    from fleetprobe.cli.terminal import warn
    from fleetprobe.lab.load import ScenarioError
    from fleetprobe.lab.state import LabError

    try:
        yield
    except (LabError, ScenarioError) as error:
        for line in str(error).splitlines():
            warn(line)
        raise typer.Exit(2) from None


@contextmanager
def _signals_are_the_childs() -> Iterator[None]:
    """Ctrl-C reaches the child too, which knows what to do; we wait for it. A child starts with defaults."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
