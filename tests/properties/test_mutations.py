"""The wrong versions of the decision are really wrong versions, and the list of the harmless ones is current."""

from __future__ import annotations

import ast
import tomllib

from tests.properties.mutate import HERE, SUBJECT
from tests.properties.mutations import mutants

SOURCE = SUBJECT.read_text(encoding="utf-8")


def test_every_mutant_is_another_program_and_has_a_name_of_its_own() -> None:
    found = list(mutants(SOURCE))
    plain = ast.unparse(ast.parse(SOURCE))
    assert len(found) > 200
    assert len({mutant.name for mutant in found}) == len(found)
    for mutant in found:
        assert mutant.source != plain
        ast.parse(mutant.source)


def test_small_sources_have_the_mutants_that_one_would_expect() -> None:
    def sources(text: str) -> set[str]:
        return {mutant.source for mutant in mutants(text)}

    assert sources("a < b") == {"a <= b", "a >= b", "True", "False"}
    assert sources("not a") == {"a"}
    assert sources("x = [n for n in m if n]") == {"pass", "x = [n for n in m]"}
    assert sources("min(a, b)") == {"pass", "max(a, b)"}
    assert sources("def f() -> tuple[int, str]:\n    return a or b") == {
        f"def f() -> tuple[int, str]:\n    return {wrong}" for wrong in ("None", "a and b", "a", "b")
    }


def test_every_mutant_argued_harmless_still_exists() -> None:
    argued = tomllib.loads((HERE / "mutants.toml").read_text(encoding="utf-8"))
    assert set(argued) <= {mutant.name for mutant in mutants(SOURCE)}
    assert all(len(reason) > 20 for reason in argued.values())
