"""Every flag of the probing commands, said once, in groups that commands take whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from fleetprobe.cli.config import DEFAULT_NAME, use_file, use_none
from fleetprobe.model.policy import Mtu


class Format(StrEnum):
    """How results go to standard output."""

    AUTO = "auto"
    HUMAN = "human"
    JSONL = "jsonl"


class Families(StrEnum):
    """Which address families are tried."""

    V4 = "4"
    V6 = "6"
    BOTH = "both"


class Witnesses(StrEnum):
    """Whether a broken climb may be followed by further probes."""

    AUTO = "auto"
    NEVER = "never"


class Color(StrEnum):
    """When to use colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def flag(*names: str, help: str, **more: Any) -> Any:  # noqa: A002  # typer's own word for it
    """An option whose environment variable is its long name: `--per-host` is FLEETPROBE_PER_HOST."""
    variable = "FLEETPROBE_" + names[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(*names, help=help, envvar=variable, **more)


ColorFlag = Annotated[
    Color,
    flag(
        "--color", metavar="auto|always|never", help="When to use colour; auto heeds NO_COLOR and TERM=dumb."
    ),
]


FormatFlag = Annotated[
    Format,
    flag(
        "--format",
        metavar="auto|human|jsonl",
        help="What standard output gets; auto: for people on a terminal, else JSON lines.",
    ),
]
MapFlag = Annotated[
    list[str] | None,
    flag(
        "--map",
        metavar="FIELD=COLUMN,...",
        help="Which CSV column holds which field, as host=name,port=svc. Repeatable.",
    ),
]
MaxTargetsFlag = Annotated[
    int,
    flag(
        "--max-targets",
        metavar="N",
        min=1,
        help="Read at most N targets; what is beyond becomes one bad line.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Where targets come from."""

    inventory: Annotated[
        list[str] | None,
        flag(
            "--inventory",
            "-i",
            metavar="FILE|-",
            help="Inventory: lines, CSV, JSONL or YAML, by its extension; - is standard input. Repeatable.",
        ),
    ] = None
    map: MapFlag = None
    max_targets: MaxTargetsFlag = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """How targets are asked, and how fast."""

    concurrency: Annotated[
        int,
        flag(
            "--concurrency",
            metavar="N",
            min=1,
            max=1_000_000,
            help="Targets in flight; fewer where descriptors run out.",
        ),
    ] = 1000
    rate: Annotated[
        str,
        flag(
            "--rate",
            metavar="N|N,M/s",
            help="Climbs started per second over all; N,M/s also bounds those in flight. 0: none.",
        ),
    ] = "1000"
    per_host: Annotated[
        str,
        flag(
            "--per-host",
            metavar="N|M/s|N,M/s",
            help="At most N climbs at once, or M per second, to one address. 0: no limit.",
        ),
    ] = "8"
    per_prefix: Annotated[
        str,
        flag(
            "--per-prefix",
            metavar="N|M/s|N,M/s",
            help="The same for one neighbourhood: an IPv4 /24 or an IPv6 /48. 0: no limit.",
        ),
    ] = "128"
    timeout: Annotated[
        float,
        flag(
            "--timeout",
            metavar="S",
            min=0.05,
            max=600.0,
            help="Seconds for one address to connect, from 3.5 up for an answer too; 3.3 is just above a repeated SYN.",
        ),
    ] = 3.3
    deadline: Annotated[
        float | None,
        flag(
            "--deadline",
            metavar="S",
            min=0.05,
            help="End the whole run after S seconds; what is left counts as not run.",
        ),
    ] = None
    grace: Annotated[
        float,
        flag(
            "--grace",
            metavar="S",
            min=0.0,
            max=600.0,
            help="Seconds for what is in flight to finish after Ctrl-C or the deadline.",
        ),
    ] = 2.0
    allow: Annotated[
        list[str] | None,
        flag(
            "--allow",
            metavar="CIDR",
            help="Touch only addresses inside these networks. Repeatable.",
        ),
    ] = None
    deny: Annotated[
        list[str] | None,
        flag(
            "--deny",
            metavar="CIDR",
            help="Never touch addresses inside these networks; wins over --allow. Repeatable.",
        ),
    ] = None
    family: Annotated[Families, flag("--family", metavar="4|6|both", help="Address families to try.")] = (
        Families.BOTH
    )
    resolver: Annotated[
        list[str] | None,
        flag(
            "--resolver",
            metavar="ADDR[:PORT]",
            help="Ask this nameserver in place of those of resolv.conf. Repeatable.",
        ),
    ] = None
    ca_file: Annotated[
        str | None,
        flag(
            "--ca-file",
            metavar="PEM",
            help="Trust these certificate authorities in place of the system's.",
        ),
    ] = None
    trust: Annotated[
        str | None,
        flag(
            "--trust",
            metavar="LABEL,...",
            help="Hold certificates against system, certifi or a --trust-store; the first decides, all are told.",
        ),
    ] = None
    trust_store: Annotated[
        list[str] | None,
        flag(
            "--trust-store",
            metavar="NAME=PEM",
            help="Give a file of certificate authorities a name for --trust and the inventory. Repeatable.",
        ),
    ] = None
    pool: Annotated[
        str | None,
        flag(
            "--pool",
            metavar="FILE|none",
            show_default="in the user's cache directory",
            help="Where CA certificates that servers present are kept between runs; they carry no trust.",
        ),
    ] = None
    intermediates: Annotated[
        str | None,
        flag(
            "--intermediates",
            metavar="PEM",
            help="CA certificates that may close the gaps of chains; they carry no trust and are not kept.",
        ),
    ] = None
    aia: Annotated[
        bool,
        flag(
            "--aia",
            help="Fetch missing issuers by HTTP from where certificates say: public addresses, or what --allow names.",
        ),
    ] = False
    fix_dir: Annotated[
        str | None,
        flag(
            "--fix-dir",
            metavar="DIR",
            help="Write each mended chain to DIR/SHA256-of-the-leaf.pem: leaf and intermediates, no root.",
        ),
    ] = None
    expiring: Annotated[
        str,
        flag(
            "--expiring",
            metavar="Nd",
            help="Warn of certificates, the whole chain's, that end within N days, and in the last third of their "
            "lives. 0d: never.",
        ),
    ] = "30d"
    mtu: Annotated[
        Mtu,
        flag(
            "--mtu",
            metavar="auto|always|never",
            help="When the size of packets is asked about: after a stall and once a path, everywhere, or never.",
        ),
    ] = Mtu.AUTO
    witnesses: Annotated[
        Witnesses,
        flag(
            "--witnesses",
            metavar="auto|never",
            help="Whether a broken climb may be followed by probes that tell look-alikes apart.",
        ),
    ] = Witnesses.AUTO
    vantage: Annotated[
        str | None,
        flag(
            "--vantage",
            metavar="NAME",
            help="The name of this place in every record; by default the host name.",
        ),
    ] = None
    seed: Annotated[
        int, flag("--seed", metavar="N", help="Seed of the order in which targets are taken.")
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Where records go."""

    output: Annotated[
        str | None,
        flag(
            "--output",
            "-o",
            metavar="FILE|-",
            help="Write records as JSON lines to FILE, new or empty; - is standard output.",
        ),
    ] = None
    append: Annotated[
        bool, flag("--append", help="Add a further segment to an output that is not empty.")
    ] = False
    quiet: Annotated[
        bool,
        flag(
            "--quiet",
            "-q",
            help="No progress and no human view; with -o FILE, nothing at all on standard output.",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Showing:
    """How standard output looks."""

    format: FormatFlag = Format.AUTO
    color: ColorFlag = Color.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """Where flags that are not given come from."""

    no_config: Annotated[
        bool,
        typer.Option(
            "--no-config",
            is_eager=True,
            callback=use_none,
            help=f"Read no configuration file, not even ./{DEFAULT_NAME}.",
        ),
    ] = False
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            is_eager=True,
            callback=use_file,
            envvar="FLEETPROBE_CONFIG",
            help=f"Take flags that are not given from table [scan] of FILE; by default of ./{DEFAULT_NAME}.",
        ),
    ] = None


def with_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function: each parameter that is one of the groups above becomes its flags."""
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint) and isinstance(hint, type)}

    @wraps(function)
    def command(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{one.name: given.pop(one.name) for one in fields(group)})
        function(**given)

    own = inspect.signature(function).parameters.values()
    parameters = [one.replace(annotation=hints[one.name]) for one in own if one.name not in groups]
    for group in groups.values():
        parameters += _parameters(group)
    ordered = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    # Through vars, as a function is not declared to have it; inspect.signature reads it.
    vars(command)["__signature__"] = inspect.Signature(ordered)
    return command


def _parameters(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hints[one.name],
            default=inspect.Parameter.empty if one.default is MISSING else one.default,
        )
        for one in fields(group)
    ]
