"""The results of a run that were written before all was known, read back from its own lines."""

from __future__ import annotations

import base64
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import orjson

from fleetprobe.record.line import encode
from fleetprobe.sinks.jsonl import JsonlSink, OutputError

_CERTIFICATES_KEPT: Final = 200_000
_CERTIFICATE: Final = b'{"kind":"certificate"'
_RESULT: Final = b'{"kind":"result"'
_UNSETTLED: Final = b'"settled":false'


@dataclass(frozen=True, slots=True)
class Unsettled:
    """One result, and a way to the certificates that it names."""

    row: Mapping[str, Any]
    reader: Reread

    def certificate(self, sha256: str) -> bytes | None:
        """A certificate by its fingerprint (upper-case hex), in DER; None when its line is not at hand."""
        return self.reader.certificate(sha256)


class Reread:
    """Reads lines from where a run began. Where certificates stand is remembered, not what they are."""

    def __init__(self, file: BinaryIO, start: int, run_id: str) -> None:
        """`start` in bytes; what stands before it belongs to other runs, as lines without this `run_id` do."""
        self._run_id = run_id
        self._file = file
        self._at = start
        self._places: OrderedDict[str, int] = OrderedDict()

    def unsettled(self) -> Iterator[Unsettled | None]:
        """Every result that is not settled, in order; None now and then, for a pause. Ends at the last whole line."""
        end = self._file.seek(0, 2)
        while self._at < end:
            self._file.seek(self._at)
            for line in self._file.readlines(1 << 20):
                if self._at >= end or not line.endswith(b"\n"):
                    return
                here, self._at = self._at, self._at + len(line)
                if line.startswith(_CERTIFICATE) and (row := self._own(line)):
                    self._note(row["sha256"], here)
                elif line.startswith(_RESULT) and _UNSETTLED in line:
                    row = self._own(line)
                    if row is not None and row["settled"] is False:
                        yield Unsettled(row, self)
            yield None

    def _own(self, line: bytes) -> Mapping[str, Any] | None:
        """A line of this run; None for what somebody else has put into the file meanwhile."""
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        return row if row.get("run_id") == self._run_id else None

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def certificate(self, sha256: str) -> bytes | None:
        """As `Unsettled.certificate`."""
        place = self._places.get(sha256)
        if place is None:
            return None
        self._places.move_to_end(sha256)
        self._file.seek(place)
        row = self._own(self._file.readline())
        encoded = row["der_base64"] if row else None
        return base64.b64decode(encoded) if encoded else None

    def _note(self, sha256: str, place: int) -> None:
        self._places[sha256] = place
        self._places.move_to_end(sha256)
        if len(self._places) > _CERTIFICATES_KEPT:
            self._places.popitem(last=False)


class Spool:
    """What has to be read back at the end: of an output that is a file, that file; else a file without a name."""

    def __init__(self, sinks: Sequence[JsonlSink], run_id: str) -> None:
        self.unsettled = 0
        """Results so far that are not settled."""
        self._run_id = run_id
        self._own: BinaryIO | None = None
        if not any(sink.readable for sink in sinks):
            with suppress(OSError):  # without any room for it nothing is settled late, and the rest goes on
                self._own = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the run

    def keep(self, row: Mapping[str, Any]) -> None:
        """Take note of a certificate or a result that was written."""
        waits = row["kind"] == "result" and not row["settled"]
        self.unsettled += waits
        if self._own is not None and (waits or row["kind"] == "certificate"):
            try:
                self._own.write(encode(dict(row)))
            except OSError:
                self._own = None

    def reread(self, sinks: Sequence[JsonlSink]) -> Reread:
        """All that has been kept so far, from its beginning. Raises OutputError when the output can not be read."""
        if self._own is not None:
            try:
                self._own.flush()
            except OSError as no:
                raise OutputError(f"no room to settle results: {no.strerror}") from no
            return Reread(self._own, 0, self._run_id)
        source = next((sink for sink in sinks if sink.readable), None)
        if source is None:
            raise OutputError("no output can be read back")
        return Reread(*source.read_back(), self._run_id)
