"""docs/conformance.md names exactly the tests and settings that the conformance kit has."""

from __future__ import annotations

import re
from pathlib import Path

from bdm_core import testing

DOCS = (Path(__file__).parents[1] / "docs" / "conformance.md").read_text(encoding="utf-8")
BASES = [getattr(testing, name) for name in testing.__all__ if name.endswith("Conformance")]


def test_every_test_is_documented_and_every_documented_test_exists() -> None:
    there = {name for base in BASES for name in dir(base) if name.startswith("test_")}
    assert set(re.findall(r"^\| `(test_\w+)` \|", DOCS, re.MULTILINE)) == there


def test_every_setting_is_documented() -> None:
    documented = set(re.findall(r"^\| `(\w+)` \| (?:all|attack|defense|metric|kit|executor) \|", DOCS, re.MULTILINE))
    annotated = {name for base in BASES for part in base.__mro__ for name in getattr(part, "__annotations__", {})}
    assert documented == annotated - {"kind", "hooks_of_kind", "one_of", "all_of"}


def test_every_method_to_override_exists() -> None:
    sentence = DOCS[DOCS.index("override a method") : DOCS.index("Their docstrings")]
    methods = re.findall(r"`(\w+)\(", sentence)
    assert len(methods) == 8
    for method in methods:
        assert any(getattr(base, method, None) is not None for base in BASES), method
        assert all(getattr(base, method).__doc__ for base in BASES if hasattr(base, method)), method
