"""`fleetprobe doctor`: whether anything about this machine would spoil a scan, and how to mend it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fleetprobe.cli.flags import Color, ColorFlag, Format, FormatFlag


def doctor(
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Send nothing: neither resolvers nor gateways are asked."),
    ] = False,
    form: FormatFlag = Format.AUTO,
    color: ColorFlag = Color.AUTO,
) -> None:
    """Look at this machine: interfaces, routes, resolvers, limits, TCP states, clock, trust store.

    Each resolver of resolv.conf is asked one question (`. NS`) and each gateway one or two datagrams, unless
    --offline is given. Nothing is changed.

    Exit code: 0, 1 when something would spoil a scan; warnings do not change it. 2 where the limit on
    descriptors is too low to look at anything.
    """
    import anyio

    from fleetprobe.cli.terminal import warn
    from fleetprobe.engine.descriptors import TooFewDescriptors, require_room
    from fleetprobe.vantage.doctor import checks, spoils
    from fleetprobe.vantage.look import look

    async def examine() -> int:
        found = checks(await look(offline=offline))
        if form is Format.HUMAN or (form is Format.AUTO and sys.stdout.isatty()):
            from fleetprobe.cli.doctor_view import doctor_view
            from fleetprobe.cli.terminal import console, marks_for, show

            on = console(color)
            show(on, doctor_view(found, marks_for(sys.stdout.encoding), on.width))
        else:
            from fleetprobe.cli.terminal import put
            from fleetprobe.record.line import encode

            for check in found:
                put(encode(check.row()).decode("ascii"))
        return 1 if spoils(found) else 0

    try:
        # The soft limit stays as it is: it is among the things looked at.
        require_room(0)
    except TooFewDescriptors as want:
        warn(str(want))
        raise typer.Exit(2) from None
    raise typer.Exit(anyio.run(examine, backend_options={"use_uvloop": True}))
