"""The human view of a run whose results were amended at its end."""

from __future__ import annotations

from typing import Any

import pytest

from fleetprobe.cli.scan_view import ScanView
from tests.cli.rows import failed, run_end
from tests.cli.screen import drawn

UNKNOWN = {"state": "fail", "code": "tls.issuer_unknown", "confidence": "inferred"}
MISSING = {"code": "tls.missing_intermediate", "confidence": "proven", "summary": "it does not send CN=Lower"}


def amend(target: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "amend", "target": target, "was": UNKNOWN, "fields": {"settled": True, **fields}}


def picture(view: ScanView) -> str:
    return drawn(view.render(run_end(), (), width=100), 100)


def test_a_result_moves_to_the_code_that_it_has_by_now() -> None:
    view = ScanView()
    for name in ("a", "b"):
        view.add(failed(target=f"tls://{name}:443", **UNKNOWN))
    view.add(amend("tls://a:443", **MISSING))
    view.add(amend("tls://b:443"))
    text = picture(view)
    assert "tls.missing_intermediate  1  proven" in text
    assert "tls.issuer_unknown  1  inferred" in text
    assert text.index("tls://a:443") < text.index("does not send CN=Lower")
    assert "2 failed" in text


@pytest.mark.parametrize("kept", [1, 2])
def test_what_was_not_kept_is_counted_all_the_same(kept: int) -> None:
    view = ScanView(most_rows=kept)
    for name in "abcd":
        view.add(failed(target=f"tls://{name}:443", **UNKNOWN))
    for name in "abcd":
        view.add(amend(f"tls://{name}:443", **MISSING))
    text = picture(view)
    assert "tls.missing_intermediate  4  proven" in text
    assert "tls.issuer_unknown" not in text


def test_an_amendment_of_nothing_is_passed_over() -> None:
    view = ScanView()
    view.add(amend("tls://a:443", **MISSING))
    assert "tls.missing_intermediate" not in picture(view)
