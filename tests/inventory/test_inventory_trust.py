"""Labels of trust stores in inventories of every format, and the reason for each that means nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleetprobe.inventory.read import entries
from fleetprobe.inventory.refused import Refused
from fleetprobe.inventory.spec import parse
from fleetprobe.inventory.trust import trust_labels
from fleetprobe.model.target import BadLine, Target
from fleetprobe.model.trust import Store, Trust, UnknownLabel

FORMATS = {
    "a.txt": "https://a.test trust=system,corp-2\n",
    "a.csv": "url,trust\nhttps://a.test,\"system, corp-2\"\n",
    "a.jsonl": json.dumps({"target": "https://a.test", "trust": ["system", "corp-2"]}) + "\n",
    "a.yaml": "targets:\n  - target: https://a.test\n    trust: [system, corp-2]\n",
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_names_labels_in_order(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(FORMATS[name])
    (made,) = entries([str(path)], [])
    assert isinstance(made, Target), made
    assert made.trust == ("system", "corp-2")
    assert parse("https://a.test", {}, "x:1") == Target(service="https", host="a.test", port=443, source="x:1")


@pytest.mark.parametrize(
    ("spec", "fields", "word"),
    [
        ("https://a.test", {"trust": "Corp"}, "must have 1 to 32 of a-z"),
        ("https://a.test", {"trust": "ca_file"}, "must have 1 to 32 of a-z"),
        ("https://a.test", {"trust": "a,,b"}, "must have 1 to 32 of a-z"),
        ("https://a.test", {"trust": "a,b,a"}, "names a twice"),
        ("https://a.test", {"trust": ["a", "a"]}, "names a twice"),
        ("https://a.test", {"trust": "a,b,c,d,e,f,g,h,i"}, "at most 8"),
        ("https://a.test", {"trust": {"a": 1}}, "must be a text or a number"),
        ("https://a.test", {"trust": ""}, "is empty"),
        ("https://a.test", {"trust": "a", "ca_file": "x.pem"}, "keep one of ca_file and trust"),
        ("a.test:80", {"trust": "a"}, "means nothing to service http"),
    ],
)
def test_what_means_nothing_is_a_bad_line_that_says_why(spec: str, fields: dict[str, object], word: str) -> None:
    made = parse(spec, fields, "fleet.yaml:7")
    assert isinstance(made, BadLine)
    assert made.source == "fleet.yaml:7"
    assert word in made.reason


def test_labels_do_not_change_which_target_it_is() -> None:
    plain, labelled = (parse("https://a.test", fields, "x:1") for fields in ({}, {"trust": "corp"}))
    assert plain.target_id == labelled.target_id


TRUST = Trust(known=(Store("system"), Store("corp", "c.pem"), Store("old", "o.pem")), of_run=(Store("old", "o.pem"),))


@pytest.mark.parametrize(
    ("fields", "stores"),
    [
        ({}, (Store("old", "o.pem"),)),
        ({"trust": "corp,system"}, (Store("corp", "c.pem"), Store("system"))),
        ({"ca_file": "/own.pem"}, (Store("ca_file", "/own.pem"),)),
    ],
)
def test_a_target_is_held_against_its_own_stores_or_those_of_the_run(
    fields: dict[str, object], stores: tuple[Store, ...]
) -> None:
    made = parse("https://a.test", fields, "x:1")
    assert isinstance(made, Target)
    assert TRUST.of(made) == stores


@pytest.mark.parametrize(("label", "word"), [("korp", "--trust-store korp=FILE"), ("certifi", "not installed")])
def test_a_label_that_no_store_has_is_told_with_those_that_there_are(label: str, word: str) -> None:
    with pytest.raises(UnknownLabel, match=word):
        TRUST.named(["corp", label])


def test_no_label_at_all_is_refused() -> None:
    with pytest.raises(Refused):
        trust_labels([""])
