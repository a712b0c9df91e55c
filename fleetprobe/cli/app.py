"""The command line: which commands there are. What a command needs is imported when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from fleetprobe.cli.check import check
from fleetprobe.cli.codes import codes, schema
from fleetprobe.cli.doctor import doctor
from fleetprobe.cli.explain import explain
from fleetprobe.cli.inventory import inventory
from fleetprobe.cli.lab import app as lab
from fleetprobe.cli.scan import scan
from fleetprobe.model.version import VERSION

app = typer.Typer(
    name="fleetprobe",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
)


def _say_version(value: bool) -> bool:
    if value:
        typer.echo(f"fleetprobe {VERSION}")
        raise typer.Exit
    return value


@app.callback()
def fleetprobe(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_say_version, help="Print the version and leave."),
    ] = False,
) -> None:
    """Scan a fleet of host:port targets and name, for each, the failing layer, the cause and the proof."""


app.command()(scan)
app.command()(check)
app.command()(explain)
app.command()(codes)
app.command()(schema)
app.command()(inventory)
app.command()(doctor)
app.add_typer(lab, name="lab")
