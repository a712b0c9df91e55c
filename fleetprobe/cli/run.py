"""One run as the shell sees it: flags become options, faults become one line and an exit code."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import typer

from fleetprobe.cli.flags import Families, Probing, Reading, Witnesses
from fleetprobe.cli.terminal import EXIT_PIPE, warn
from fleetprobe.cli.values import days, limit, mapping, networks, resolvers, trust, without_secrets
from fleetprobe.engine.budget import Manners
from fleetprobe.engine.descriptors import TooFewDescriptors
from fleetprobe.inventory.read import STDIN, InventoryError, entries
from fleetprobe.issuer_files import UnusableList
from fleetprobe.model.policy import Mtu, Policy
from fleetprobe.net.live.trust import UnusableTrust
from fleetprobe.pool_file import UnusablePool, default_path
from fleetprobe.scan import EXIT_LOCKED, EXIT_OUTPUT, EXIT_USAGE, Ended, Options, Watch, run
from fleetprobe.sinks.fix_dir import UnusableFixDir
from fleetprobe.sinks.jsonl import OutputError, OutputExists, OutputLocked

_COUNTED_BYTES = 1 << 20
"""Inventories up to this size are read twice, first to know the total for the progress line: in a second."""

_STDOUT = 1
_FAMILIES = {Families.V4: {4}, Families.V6: {6}, Families.BOTH: {4, 6}}
_EXITS: dict[type[Exception], int] = {
    InventoryError: EXIT_USAGE,
    TooFewDescriptors: EXIT_USAGE,
    UnusableTrust: EXIT_USAGE,
    UnusablePool: EXIT_USAGE,
    UnusableList: EXIT_USAGE,
    UnusableFixDir: EXIT_USAGE,
    OutputExists: EXIT_USAGE,
    OutputLocked: EXIT_LOCKED,
    OutputError: EXIT_OUTPUT,
}


def options_of(
    targets: Sequence[str],
    reading: Reading,
    probing: Probing,
    outputs: Sequence[str] = (),
    append: bool = False,
    *,
    in_full: bool = False,
) -> Options:
    """What the flags ask for; `in_full` for one target alone. Raises BadParameter where one means nothing."""
    _refuse_unreadable(reading.inventory or ())
    families = frozenset(_FAMILIES[probing.family])
    return Options(
        arguments=tuple(targets),
        files=tuple(reading.inventory or ()),
        mapping=mapping(reading.map or ()),
        max_targets=reading.max_targets,
        outputs=tuple(outputs),
        append=append,
        concurrency=probing.concurrency,
        manners=Manners(
            everything=limit("--rate", probing.rate, bare_is_rate=True),
            per_host=limit("--per-host", probing.per_host),
            per_prefix=limit("--per-prefix", probing.per_prefix),
        ),
        allow=networks("--allow", probing.allow or ()),
        deny=networks("--deny", probing.deny or ()),
        families=families,
        resolvers=resolvers(probing.resolver or ()),
        pool=_pool(probing.pool),
        fix_dir=probing.fix_dir,
        pool_named=probing.pool is not None,
        intermediates=probing.intermediates,
        aia=probing.aia,
        policy=Policy(
            trust=trust(probing.ca_file, probing.trust, probing.trust_store or ()),
            connect_s=probing.timeout,
            exchange_s=max(Policy().exchange_s, probing.timeout),
            expiring=days("--expiring", probing.expiring),
            mtu=probing.mtu if probing.witnesses is Witnesses.AUTO else Mtu.NEVER,
            mtu_to_the_byte=in_full,
            witnesses=probing.witnesses is Witnesses.AUTO,
        ),
        run_deadline_s=probing.deadline,
        grace_s=probing.grace,
        vantage=probing.vantage or socket.gethostname(),
        seed=probing.seed,
        argv=without_secrets(sys.argv[1:]),
    )


def execute(options: Options, watch: Watch) -> Ended | int:
    """Run; an exit code in place of an end when the run could not begin or its output broke."""
    try:
        ended = run(options, watch, _ignore_signals_in_loop)
    except (
        InventoryError,
        TooFewDescriptors,
        UnusableTrust,
        UnusablePool,
        UnusableList,
        UnusableFixDir,
        OutputExists,
        OutputLocked,
        OutputError,
        BaseExceptionGroup,
    ) as error:
        fault = _known(error)
        if isinstance(fault, OutputError) and "-" in options.outputs and _nobody_reads_stdout():
            return EXIT_PIPE
        warn(str(fault))
        return _EXITS[type(fault)]
    else:
        if ended.complaint is not None:
            warn(ended.complaint)
        return ended
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def count(options: Options) -> int | None:
    """How many distinct entries a run will see; None when that is too dear or impossible to know before."""
    if any(path == STDIN or not os.path.isfile(path) for path in options.files):
        return None
    if sum(os.path.getsize(path) for path in options.files) > _COUNTED_BYTES:
        return None
    found = entries(
        options.files, options.arguments, mapping=options.mapping, max_targets=options.max_targets
    )
    with suppress(InventoryError):
        return len({entry.target_id for entry in found})
    return None


def _pool(named: str | None) -> str | None:
    """The file of the pool; a user without a home has none unless it is named."""
    if named is not None:
        return None if named == "none" else named
    path = default_path()
    return None if path is None else str(path)


def _refuse_unreadable(paths: Sequence[str]) -> None:
    """Before anything is sent. What is no regular file is left alone: a pipe can be opened only once."""
    for path in paths:
        if path == STDIN:
            continue
        try:
            if stat.S_IFMT(os.stat(path).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                Path(path).open("rb").close()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a file name"
            message = f"cannot read {path!a}: {reason}"
            raise typer.BadParameter(message, param_hint="'--inventory'") from None
    if list(paths).count(STDIN) > 1:
        raise typer.BadParameter("standard input (-) can be read only once", param_hint="'--inventory'")


def _ignore_signals_in_loop() -> None:
    """The run has ended: a late Ctrl-C must neither change its exit code nor break off the last write."""
    loop = asyncio.get_running_loop()
    with suppress(KeyboardInterrupt):
        for number in (signal.SIGINT, signal.SIGTERM):
            # Closing the loop would put the defaults back, so it must not know of them any more.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _known(error: BaseException) -> Exception:
    """The fault we know by type inside groups that task groups make; anything else is a bug and goes up."""
    found = [error]
    while found:
        one = found.pop()
        if isinstance(one, BaseExceptionGroup):
            found += one.exceptions
        elif type(one) in _EXITS:
            assert isinstance(one, Exception)
            return one
    raise error


def _nobody_reads_stdout() -> bool:
    """Whether the reading end of the pipe on standard output is closed: poll(2) says POLLERR."""
    poll = select.poll()
    poll.register(_STDOUT, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
