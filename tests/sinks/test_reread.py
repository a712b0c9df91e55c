"""What is read back at the end of a run: its own lines alone, and nothing breaks it."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fleetprobe.record.line import encode
from fleetprobe.sinks.jsonl import JsonlSink, OutputError
from fleetprobe.sinks.reread import Reread, Spool

RUN = "run-1"


def result(number: int, *, settled: bool = False, run: str = RUN) -> dict[str, Any]:
    return {"kind": "result", "run_id": run, "seq": number, "settled": settled, "note": '"settled":false'}


def certificate(sha256: str, der: bytes, run: str = RUN) -> dict[str, Any]:
    return {"kind": "certificate", "run_id": run, "sha256": sha256, "der_base64": base64.b64encode(der).decode()}


def read(*lines: bytes, start: int = 0) -> tuple[list[int], Reread]:
    reread = Reread(io.BytesIO(b"".join(lines)), start, RUN)
    return [one.row["seq"] for one in reread.unsettled() if one is not None], reread


def test_only_what_is_not_settled_comes_back_in_order() -> None:
    rows = [encode(result(number, settled=number % 2 == 0)) for number in range(6)]
    assert read(*rows)[0] == [1, 3, 5]
    assert read(*rows, start=len(rows[0]) + len(rows[1]))[0] == [3, 5]


def test_certificates_are_found_wherever_they_stand() -> None:
    lines = [encode(certificate("AA", b"one")), encode(result(1)), encode(certificate("BB", b"two"))]
    _, reread = read(*lines)
    assert [reread.certificate(name) for name in ("AA", "BB", "CC")] == [b"one", b"two", None]


@pytest.mark.parametrize(
    "strange",
    [
        b'{"kind":"result","settled":false,\n', b'{"kind":"certificate"}\n', b'{"kind":"certificate",\x00\n', b"\n",
        encode(result(9, run="another")), encode(certificate("AA", b"false", run="another")),
        b'{"kind":"result","run_id":"run-1","settled":false', b'{"kind":"result","settled":false}\n',
    ],
)
def test_lines_of_somebody_else_are_passed_over(strange: bytes) -> None:
    seen, reread = read(encode(certificate("AA", b"one")), encode(result(1)), strange)
    assert seen == [1]
    assert reread.certificate("AA") == b"one"


def test_without_any_room_nothing_is_settled_late_and_nothing_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    spool = Spool((), RUN)
    spool.keep(result(1))
    assert spool.unsettled == 1
    with pytest.raises(OutputError):
        spool.reread(())


def test_a_spool_that_fills_up_costs_late_results_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    spool = Spool((), RUN)
    spool.keep(result(1))
    spool.keep(result(2))
    with pytest.raises(OutputError):
        spool.reread(())


def test_an_output_that_is_a_file_is_its_own_spool(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(encode(result(0)))
    with JsonlSink(str(path), append=True) as sink:
        spool = Spool((sink,), RUN)
        for number in (1, 2):
            sink.write(encode(result(number)))
            spool.keep(result(number))
        with closing(spool.reread((sink,))) as reread:
            seen = [one.row["seq"] for one in reread.unsettled() if one is not None]
    assert seen == [1, 2]
    assert [json.loads(line)["seq"] for line in path.read_bytes().splitlines()] == [0, 1, 2]


def test_outputs_that_have_failed_cannot_be_read_back(tmp_path: Path) -> None:
    with JsonlSink(str(tmp_path / "out.jsonl")) as sink:
        spool = Spool((sink,), RUN)
    with pytest.raises(OutputError):
        spool.reread(())
