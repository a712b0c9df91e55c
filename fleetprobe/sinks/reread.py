"""The results of a run that were written before all was known, read back from its own lines."""

from __future__ import annotations

import base64
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import orjson

from fleetprobe.record.line import encode
from fleetprobe.sinks.jsonl import JsonlSink

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

    def __init__(self, file: BinaryIO, start: int) -> None:
        """`start` in bytes; what stands before it belongs to other runs."""
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
                if line.startswith(_CERTIFICATE):
                    self._note(orjson.loads(line)["sha256"], here)
                elif line.startswith(_RESULT) and _UNSETTLED in line:
                    row = orjson.loads(line)
                    if row["settled"] is False:
                        yield Unsettled(row, self)
            yield None

    def certificate(self, sha256: str) -> bytes | None:
        """As `Unsettled.certificate`."""
        place = self._places.get(sha256)
        if place is None:
            return None
        self._places.move_to_end(sha256)
        self._file.seek(place)
        encoded = orjson.loads(self._file.readline())["der_base64"]
        return base64.b64decode(encoded) if encoded else None

    def _note(self, sha256: str, place: int) -> None:
        self._places[sha256] = place
        self._places.move_to_end(sha256)
        if len(self._places) > _CERTIFICATES_KEPT:
            self._places.popitem(last=False)


class Spool:
    """What has to be read back at the end: of an output that is a file, that file; else a file without a name."""

    def __init__(self, sinks: Sequence[JsonlSink]) -> None:
        self.unsettled = 0
        """Results so far that are not settled."""
        self._own = None if any(sink.readable for sink in sinks) else tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the run

    def keep(self, row: Mapping[str, Any]) -> None:
        """Take note of a certificate or a result that was written."""
        waits = row["kind"] == "result" and not row["settled"]
        self.unsettled += waits
        if self._own is not None and (waits or row["kind"] == "certificate"):
            self._own.write(encode(dict(row)))

    def reread(self, sinks: Sequence[JsonlSink]) -> Reread:
        """All that has been kept so far, from its beginning. Raises OutputError when the output can not be read."""
        if self._own is not None:
            self._own.flush()
            return Reread(self._own, 0)
        file, start = next(sink for sink in sinks if sink.readable).read_back()
        return Reread(file, start)
