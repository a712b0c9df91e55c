"""The composition root: inventory, ladders, network and sinks become one run."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import signal
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from fleetprobe.audit.causes import Causes, cause_id
from fleetprobe.engine.budget import Gate, Guard, Manners, Network
from fleetprobe.engine.descriptors import affordable, raise_limit, require_room
from fleetprobe.engine.errands import Errands
from fleetprobe.engine.feed import Direct, Feed, Threaded, shuffled
from fleetprobe.engine.fleet import Fleet
from fleetprobe.engine.one import Examiner
from fleetprobe.examination import Examination
from fleetprobe.inventory.read import InventoryError, entries
from fleetprobe.layers.ladders import ladder_of
from fleetprobe.mend import Mender, presented
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import BadLine, Entry
from fleetprobe.model.verdict import Verdict
from fleetprobe.net.live.net import LiveNet
from fleetprobe.net.live.stores import told_of, usable
from fleetprobe.pool_sources import PoolSources
from fleetprobe.record.columns import SCHEMA_VERSION
from fleetprobe.record.line import encode
from fleetprobe.record.result import bad_line_row, result_row
from fleetprobe.segment import certificate_row, inventory_hash, run_end, run_start, uuid7
from fleetprobe.settle import Fleet as Seen
from fleetprobe.settle import settle
from fleetprobe.sinks.fix_dir import FixDir
from fleetprobe.sinks.jsonl import JsonlSink, OutputError
from fleetprobe.sinks.reread import Spool

Row = dict[str, Any]
Watch = Callable[[Row], None]

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_OUTPUT, EXIT_LOCKED = 0, 1, 2, 3, 74, 75

_CERTIFICATES_KEPT = 50_000
_GARBAGE_THRESHOLD = 50_000
_CLOSING_STEP_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything a run needs to know. Times in seconds."""

    arguments: Sequence[str] = ()
    files: Sequence[str] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    """CSV columns: our field to their header."""
    max_targets: int = 1_000_000
    outputs: Sequence[str] = ()
    append: bool = False
    concurrency: int = 1000
    manners: Manners = field(default_factory=Manners)
    allow: Sequence[Network] = ()
    deny: Sequence[Network] = ()
    families: frozenset[int] = frozenset({4, 6})
    resolvers: Sequence[str] | None = None
    policy: Policy = field(default_factory=Policy)
    pool: str | None = None
    """Where CA certificates that hosts present are kept between runs; None: nowhere."""
    pool_named: bool = False
    """Whether somebody asked for that file, so that it must be usable."""
    intermediates: str | None = None
    """A PEM file of CA certificates that no host need present."""
    aia: bool = False
    """Whether issuers are fetched from where certificates of strangers say."""
    fix_dir: str | None = None
    """Where chains to install are written; None: nowhere."""
    run_deadline_s: float | None = None
    grace_s: float = 2.0
    vantage: str = field(default_factory=socket.gethostname)
    seed: int = 0
    argv: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended."""

    exit_code: int
    outcome: str
    """completed, interrupted or deadline."""
    run_end: Row
    complaint: str | None = None
    """What went wrong beside the run, in a sentence for the user."""


def run(
    options: Options, watch: Watch = lambda row: None, at_the_end: Callable[[], None] = lambda: None
) -> Ended:
    """Scan. `watch` sees every row in the order written; `at_the_end` is called when all outputs are closed.

    Raises InventoryError for unusable input files, OutputExists, OutputLocked and OutputError, and
    TooFewDescriptors where not even one target could be asked.
    """
    raise_limit()
    require_room(sum(path != "-" for path in (*options.files, *options.outputs)))
    # What is loaded by now stays to the end; the collector need not walk it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    return anyio.run(_run, options, watch, at_the_end, backend_options={"use_uvloop": True})


async def _run(options: Options, watch: Watch, at_the_end: Callable[[], None]) -> Ended:
    trust = options.policy.trust
    net = LiveNet(servers=options.resolvers, families=options.families, ca_file=trust.of_run[0].file or None)
    try:
        stores = told_of(trust, net)
        sources = PoolSources(net.pool, options.pool, required=options.pool_named)
        files = [store.file for store in dict.fromkeys((*trust.of_run, *trust.known))]
        lent = await anyio.to_thread.run_sync(sources.open, options.intermediates, files)
        fixes = None if options.fix_dir is None else FixDir(options.fix_dir)
        source = sources.lending(usable(_to_the_end(_source(options)), trust, net))
        sinks = [JsonlSink(path, append=options.append) for path in options.outputs]
        scan = _Scan(options, watch, net, sinks, source, Mender(net, trust, fixes))
        try:
            ended = await scan.go({
                "trust": dict(stores[trust.of_run[0].label]),
                "trusts": {label: dict(told) for label, told in stores.items()},
                **lent,
            })
        finally:
            read = await _closed(sinks, scan, options.grace_s)
            at_the_end()
            sources.save()
        return ended if read else replace(ended, exit_code=scan.signalled)
    finally:
        await net.close()


async def _closed(sinks: Sequence[JsonlSink], scan: _Scan, grace_s: float) -> bool:
    """Close the outputs. A reader that has stopped reading is waited for, but not once a signal has come.

    False: then there are lines that nobody has read.
    """
    ending = asyncio.ensure_future(anyio.to_thread.run_sync(_close, sinks, abandon_on_cancel=True))
    left_s: float | None = None
    while not ending.done():
        await asyncio.wait({ending}, timeout=_CLOSING_STEP_S)
        if scan.stopped:
            left_s = grace_s if left_s is None else left_s - _CLOSING_STEP_S
            if left_s <= 0:
                ending.cancel()
                return False
    ending.result()
    return True


def _close(sinks: Sequence[JsonlSink]) -> None:
    """Close every one, then tell of the first that failed."""
    failures: list[OutputError] = []
    for sink in sinks:
        try:
            sink.close()
        except OutputError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


class _Scan:
    """One run: its counters, its stop switch, its lines."""

    def __init__(
        self, options: Options, watch: Watch, net: LiveNet, sinks: Sequence[JsonlSink], source: Iterator[Entry],
        mender: Mender,
    ) -> None:
        self._options = options
        self._watch = watch
        self._net = net
        self._sinks = list(sinks)
        self._lost: list[JsonlSink] = []
        self._source = source
        self._mender = mender
        self._run_id = uuid7()
        self._seq = 0
        self._states: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._targets = 0
        self._certificates: OrderedDict[str, None] = OrderedDict()
        self._causes = Causes()
        self._outcome = "completed"
        self._signal: signal.Signals | None = None
        self._spool = Spool(sinks, self._run_id)
        self._fleet = Seen()

    @property
    def stopped(self) -> bool:
        """Whether a signal asked us to end."""
        return self._signal is not None

    @property
    def signalled(self) -> int:
        """The exit code of whoever was ended by a signal."""
        return 128 + (self._signal or signal.SIGTERM)

    async def go(self, facts: Mapping[str, object]) -> Ended:
        """From run_start to run_end."""
        options, started = self._options, self._net.now()
        gate = Gate(options.manners, Guard(options.allow, options.deny, options.families))
        errands = Errands(self._net, options.manners, options.allow, options.deny, options.families)
        wanted = options.aia and options.policy.witnesses
        examiner = Examiner(self._net, options.policy, gate, errands if wanted else None)
        fleet = Fleet(examiner, ladder_of, self._emit, affordable(options.concurrency))
        feed: Feed[Entry] = Threaded(self._source) if _may_block(options) else Direct(self._source)
        dropped = 0
        # Whatever ends the run from here on, its first line and its last one belong together.
        with anyio.CancelScope() as scope:
            loop = asyncio.get_running_loop()

            def stop(outcome: str, grace_s: float) -> None:
                nonlocal dropped
                self._outcome = outcome
                dropped += feed.stop()
                loop.call_later(grace_s, scope.cancel)

            def on_signal(number: signal.Signals) -> None:
                grace_s = options.grace_s if self._signal is None else 0.0
                self._signal = self._signal or number
                stop("interrupted", grace_s)

            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, on_signal, number)
            if options.run_deadline_s is not None:
                loop.call_later(options.run_deadline_s, stop, "deadline", options.grace_s)
            self._write(self._run_start(facts))
            await fleet.run(feed)
            await errands.finish()
            await self._settle()
        await errands.close()
        known = feed.exhausted or self._outcome == "completed"
        for cause in self._causes.rows():
            self._write({**cause, "schema_version": SCHEMA_VERSION, "run_id": self._run_id})
        not_run = fleet.unfinished + dropped if known else None
        return self._end(started, not_run, fleet.duplicates)

    async def _emit(self, result: Examination | BadLine) -> None:
        if isinstance(result, BadLine):
            row = bad_line_row(result, self._run_id, self._options.vantage, 0, time.time())
        else:
            self._targets += 1
            row = result_row(result, self._run_id, self._options.vantage, 0)
            certificates = presented(result)
            row.update(await self._mender.mend(row, certificates.get))
            self._write_certificates({**certificates, **self._mender.missing(row)})
            row["root_cause_id"] = self._root_cause(row, result.verdict)
        self._count(row, 1)
        self._fleet.see(row)
        self._write(row)
        self._spool.keep(row)
        await self._wait_for_room()

    async def _settle(self) -> None:
        """Amend what was written before its issuer was seen; the verdicts no longer depend on the order then."""
        if not self._spool.unsettled or self.stopped:
            return
        try:
            reread = await anyio.to_thread.run_sync(self._spool.reread, self._sinks, abandon_on_cancel=True)
        except OutputError:
            return  # what was written stands, and says itself that it is not settled
        with closing(reread):
            async for one, row in settle(reread, self._net, self._options.policy, self._fleet):
                fields = row["fields"]
                if len(fields) > 1:
                    fields.update(await self._mender.mend({**one.row, **fields}, one.certificate))
                    self._write_certificates(self._mender.missing({**one.row, **fields}))
                self._count(one.row, -1)
                self._count({**one.row, **fields}, 1)
                self._write(row)
                await self._wait_for_room()

    def _count(self, row: Mapping[str, Any], by: int) -> None:
        self._states[row["state"]] += by
        if row["code"] is not None:
            self._codes[row["code"]] += by

    async def _wait_for_room(self) -> None:
        for sink in self._sinks:
            if sink.congested:
                await anyio.to_thread.run_sync(sink.wait_for_room, abandon_on_cancel=True)

    def _root_cause(self, row: Row, verdict: Verdict) -> str | None:
        """What the target shares with others: the reason of its verdict, or of a warning beside a good one."""
        finding = verdict.finding
        told = self._causes.see(row, finding.factor if finding else None)
        if told is not None or finding is not None:
            return told
        warned = (cause_id(one.code, one.factor) for one in verdict.also if one.code and one.factor)
        return next(warned, None)

    def _write_certificates(self, found: Mapping[str, bytes]) -> None:
        """Each certificate once, before the first result that names it, or again when long forgotten."""
        for sha256, der in found.items():
            if sha256 in self._certificates:
                self._certificates.move_to_end(sha256)
                continue
            self._certificates[sha256] = None
            if len(self._certificates) > _CERTIFICATES_KEPT:
                self._certificates.popitem(last=False)
            row = certificate_row(self._run_id, sha256, der)
            self._write(row)
            self._spool.keep(row)

    def _write(self, row: Row) -> None:
        row["seq"] = self._seq
        self._seq += 1
        if self._sinks:
            line = encode(row)
            for sink in list(self._sinks):
                self._hand_over(sink, line)
        self._watch(row)

    def _hand_over(self, sink: JsonlSink, line: bytes) -> None:
        """A reader who has gone away costs its own output only, as long as another is left."""
        try:
            sink.write(line)
        except OutputError:
            if len(self._sinks) == 1:
                raise
            self._sinks.remove(sink)
            self._lost.append(sink)

    def _run_start(self, facts: Mapping[str, object]) -> Row:
        options = self._options
        return run_start(
            self._run_id,
            vantage=options.vantage,
            argv=options.argv,
            inventory_sha256=inventory_hash(options.arguments, options.files),
            seed=options.seed,
            resolvers=self._net.servers,
            facts=facts,
        )

    def _end(self, started: float, not_run: int | None, duplicates: int) -> Ended:
        code = self._exit_code()
        row = run_end(
            self._run_id,
            vantage=self._options.vantage,
            elapsed_ms=(self._net.now() - started) * 1000.0,
            outcome=self._outcome,
            exit_code=code,
            not_run=not_run,
            duplicates=duplicates,
            states=+self._states,
            codes=+self._codes,
            lines=self._seq,
            lines_sha256=self._sinks[0].sha256 if self._sinks else hashlib.sha256().hexdigest().upper(),
        )
        self._write(row)
        return Ended(exit_code=code, outcome=self._outcome, run_end=row, complaint=self._mender.complaint)

    def _exit_code(self) -> int:
        """By precedence (design §6); what was denied on purpose never changes it."""
        if self._signal is not None:
            return 128 + self._signal
        if self._targets == 0 and self._outcome == "completed":
            return EXIT_USAGE
        undecided = self._states["unknown"] + self._states["blocked"] - self._codes["policy.denied"]
        if undecided or self._outcome == "deadline":
            return EXIT_INCOMPLETE
        return EXIT_FAILED if self._states["fail"] else EXIT_OK


def _source(options: Options) -> Iterator[Entry]:
    """The inventory as a stream. Files that cannot be opened are an error before anything is written."""
    found = entries(options.files, options.arguments, mapping=options.mapping, max_targets=options.max_targets)
    # What comes through a pipe is scanned as it comes; files are mixed, so that no prefix is hit in a row.
    return found if _may_block(options) else shuffled(found, options.seed)


def _to_the_end(found: Iterator[Entry]) -> Iterator[Entry]:
    """An inventory that cannot be read further costs what is left of it, not what was read before."""
    try:
        yield from found
    except InventoryError as broken:
        yield BadLine(source="inventory", raw="", reason=str(broken))


def _may_block(options: Options) -> bool:
    """Whether reading may wait for somebody: standard input, a named pipe."""
    return not all(os.path.isfile(path) for path in options.files)
