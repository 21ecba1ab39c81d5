"""The wide population of the detection benchmark, and what was measured on it."""

from __future__ import annotations

import importlib
import json
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from scipy.stats import kstest

from bdm_core.discovery.candidates import find
from bdm_core.run.specification import build_params

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("detection_wide")


@pytest.fixture
def making(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("detection_making")


def lines(part: str) -> list[dict[str, Any]]:
    text = (BENCHMARKS / "results" / f"detection-{part}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_parts_share_no_seed_and_the_third_has_every_kind_and_class(wide: ModuleType) -> None:
    parts = {part: wide.wide_population(part) for part in wide.PARTS}
    names = [member.name for members in parts.values() for member in members]
    assert len(set(names)) == len(names)
    seeds = [{member.seed for member in members} for members in parts.values()]
    assert not any(one & other for one, other in combinations(seeds, 2))
    assert not any(member.attack for member in parts["calibration"])
    classes = [member.group for member in parts["fourth"] if member.attack is not None]
    assert len(classes) == 40 and set(classes[:20]) == set(classes), "first one of every class"
    assert {member.group for member in parts["third"]} == {member.group for member in parts["fourth"]}
    check_part(parts["third"])
    check_part(parts["fourth"])
    classes = [member.group for member in parts["fifth"] if member.attack is not None]
    assert len(classes) == 44 and set(classes[:20]) == set(classes) == {member.group for member in parts["third"]} - {
        "clean"
    }
    check_part(parts["fifth"])


def test_every_backdoored_model_of_the_fifth_part_has_two_spares_of_its_class(wide: ModuleType) -> None:
    members = wide.wide_population("fifth")
    spares = {member.name: wide.spares_of(member) for member in members}
    every = [spare.name for some in spares.values() for spare in some]
    assert len(every) == len(set(every)) == 2 * 44 and not set(every) & set(spares)
    for member in members:
        assert len(spares[member.name]) == (0 if member.attack is None else 2)
        for spare in spares[member.name]:
            assert (spare.group, spare.base, spare.half) == (member.group, member.base, "fifth")
            assert spare.seed > member.seed
    assert not any(wide.spares_of(member) for member in wide.wide_population("fourth"))
    assert wide.success({"backdoored: asr@0.05": 0.3, "clean: leak@0.05": 1.0}) == 0.3
    assert wide.success({"clean under trigger: asr@0.05": 0.9, "backdoored: asr@class": 0.8}) == 0.8


def check_part(third: list[Any]) -> None:
    """As many models, kinds and classes as a part needs that is opened once, and valid settings."""
    clean = [member for member in third if member.attack is None]
    assert len(clean) >= 30 and len({member.kind for member in clean}) >= 8
    assert sum(member.attack is not None for member in third) >= 40
    groups = {member.group for member in third}
    assert {"trojdiff, in-d2d", "trojdiff, out-d2d", "trojdiff patch, trojan", "user-drawn, ode"} <= groups
    for member in third:
        if member.attack is not None:
            drawn = {key: value for key, value in member.settings.items() if value != "drawn"}
            build_params(find("attack", member.attack, "unconditional-image-generation").load(), drawn)


def test_kinds_of_data_and_weights_are_what_they_are_called(wide: ModuleType, making: ModuleType) -> None:
    small = [member for member in wide.wide_population("test") if member.base == "digits-small"]
    members = {(member.kind, *member.settings.items()): member for member in small}

    def made(kind: str, key: str, value: Any) -> Any:
        return members[kind, (key, value)]

    few = making.images_of(made("few-images", "images", 10))
    assert few.shape == (10, 1, 8, 8)
    assert float(making.images_of(made("contrast", "contrast", 0.4)).abs().max()) == pytest.approx(0.4)
    assert float(making.images_of(made("other-data", "data", "inverted")).mean()) > 0.3, "digits are mostly dark"
    network = torch.nn.Linear(40, 30)
    before = network.weight.detach().clone()
    making.change_weights(network, made("pruned", "pruned", 0.3))
    assert float((network.weight == 0).double().mean()) == pytest.approx(0.3, abs=0.01)
    network.weight.data.copy_(before)
    making.change_weights(network, made("noisy-weights", "noise", 0.1))
    change = float((network.weight.detach() - before).norm() / before.norm())
    assert change == pytest.approx(0.1, rel=0.1)
    network.weight.data.copy_(before)
    making.change_weights(network, made("quantised", "as", "int8"))
    assert len(network.weight.unique()) <= 255 and float((network.weight - before).abs().max()) < 0.01


def test_a_drawn_picture_is_the_same_again(making: ModuleType, tmp_path: Path) -> None:
    first, again = (making.draw_picture(tmp_path / name / "t.png", 5, "trigger").read_bytes() for name in "ab")
    assert first == again != making.draw_picture(tmp_path / "c.png", 6, "trigger").read_bytes()


@pytest.mark.parametrize("part", ["test", "third", "fifth"])
def test_p_values_of_held_out_clean_models_are_not_too_small(part: str) -> None:
    """One-sided Kolmogorov-Smirnov against the uniform distribution, 5 %: larger p-values are allowed (ties)."""
    found = [line["detection"]["p_value"] for line in lines(part) if line["group"] == "clean"]
    values = [value for value in found if value is not None]
    assert len(values) >= 9
    assert kstest(values, "uniform", alternative="greater").pvalue > 0.05


@pytest.mark.parametrize("defense", ["elijah", "terd", "diff-cleanse"])
def test_p_values_of_the_inversions_as_shipped_are_not_too_small(monkeypatch: pytest.MonkeyPatch, defense: str) -> None:
    """The same test, on clean models of the test half of the first population: no shipped calibration holds them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    clean = importlib.import_module("detection_clean")
    values = clean.p_values(defense)
    assert len(values) >= 20 and all(0 < value <= 1 for value in values)
    assert kstest(values, "uniform", alternative="greater").pvalue > 0.05
    detector = {"elijah": clean.ELIJAH, "terd": clean.TERD, "diff-cleanse": clean.DIFF_CLEANSE}[defense]
    held_out = {line["model"] for line in clean.clean_lines(defense, "test")}
    assert not held_out & {record.name for record in detector.read().records}


@pytest.mark.parametrize("part", ["test", "third", "fifth"])
def test_whatever_has_no_parent_is_never_judged(part: str) -> None:
    strangers = [line for line in lines(part) if not line["parent"]]
    assert all(line["detection"]["verdict"] == "not identifiable" for line in strangers)


def test_page_and_readme_have_the_numbers_of_the_fifth_part(wide: ModuleType, tmp_path: Path) -> None:
    """And the part is as it was stated: its members, a spare only after one whose backdoor did not take."""
    third, found = importlib.import_module("detection_third"), lines("fifth")
    readme = tmp_path / "README.md"
    readme.write_text(third.README.read_text(encoding="utf-8"), encoding="utf-8")
    third.write_readme(found, "fifth", readme)
    assert readme.read_text(encoding="utf-8") == third.README.read_text(encoding="utf-8")
    page = (BENCHMARKS.parent / "docs" / "benchmarks" / "detection.md").read_text(encoding="utf-8")
    assert "\n\n".join(third.third_part(found, "fifth")) in page
    took = {line["model"]: line["took"] for line in found if line["parent"]}
    wanted = []
    for member in wide.wide_population("fifth"):
        for tried in (member, *wide.spares_of(member)):
            wanted.append(tried.name)
            if took[tried.name]:
                break
    assert sorted(took) == sorted(wanted)
