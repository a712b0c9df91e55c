"""Labels of trust stores as they are written: `system,corp`, in flags and in inventories alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fleetprobe.inventory.refused import Refused, shown
from fleetprobe.model.trust import LABELS_MAX

_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,31}")
"""No underscore: `ca_file` in a record stands for a bundle that has no label."""


def trust_label(text: str) -> str:
    """One label. Raises `Refused`."""
    if not _LABEL.fullmatch(text):
        raise Refused(f"trust label {shown(text)} must have 1 to 32 of a-z 0-9 . - and begin with one of a-z 0-9")
    return text


def trust_labels(texts: Sequence[str]) -> tuple[str, ...]:
    """Labels, several in one text separated by commas, each once, in order: the first decides. Raises `Refused`."""
    labels = [trust_label(part.strip()) for text in texts for part in text.split(",")]
    if len(labels) > LABELS_MAX:
        raise Refused(f"trust names {len(labels)} labels; at most {LABELS_MAX} are asked")
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise Refused(f"trust names {twice} twice; keep one")
    return tuple(labels)
