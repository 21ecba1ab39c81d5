"""``report.html`` of a complete run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdm_cli.html import render
from bdm_core.run.record import RunView

Run = Callable[..., RunView]
Words = Callable[[str], str]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory, complete_run: Run) -> RunView:
    return complete_run(tmp_path_factory.mktemp("complete"))


@pytest.fixture(scope="module")
def page(view: RunView) -> str:
    return render(view)


def test_every_part_of_a_complete_run_is_shown_in_order(page: str, words: Words) -> None:
    text = words(page)
    command = "bdm run --attack villan --defense elijah --set attack:villan.poison_rate=0.2"
    parts = ["Backdoored", "elijah on the backdoored model, p = 0.010, from 179 clean samples.",
             "one start point of eight agrees", "Under the trigger, 97.7 % of the backdoored model's outputs",
             "(clean model: 0.0 %); after the repair, 1.2 %", "Results", "Frechet distance (digits) ↓",
             "MSE to target ↑", "Samples", "Trigger and evidence", "Cosine similarity", "uniformity", "Loss curves",
             "Stages", "from the store", "Provenance", command, "Example CPU", "0bd94c5d0c8a5b7a9f3d",
             "bdm-attack-villan 0.1.0", "poison_rate=0.2, psi=0.0", "123456789"]  # fmt: skip
    places = [text.find(part) for part in parts]
    assert -1 not in places, [part for part, place in zip(parts, places, strict=True) if place < 0]
    assert places == sorted(places)


def test_values_have_errors_counts_and_explanations(page: str, words: Words) -> None:
    text = words(page)
    assert "0.977 ±0.010" in text
    assert "0.0004 ±0.0001" in text, "a small value does not turn into 0.000"
    assert 'title="value 0.977; standard error 0.010; n = 256"' in page
    assert "Attack success rate: share of triggered samples" in text
    assert "Counts the corners." in text, "an unknown metric is explained by its plugin"


def test_six_grids_the_target_both_triggers_and_the_evidence(page: str, parsed: Any) -> None:
    found = parsed(page)
    pictures = [value for tag, name, value in found.attributes if (tag, name) == ("img", "alt")]
    assert sum(alt.startswith("First 32 samples") for alt in pictures) == 6
    assert len(pictures) == len(set(pictures)) == 10
    assert all(pictures)
    sources = [value for tag, name, value in found.attributes if name == "src"]
    assert len(sources) == 10 and all(value.startswith("data:image/png;base64,") for value in sources)


def test_nothing_is_loaded_and_nothing_is_executed(page: str, parsed: Any) -> None:
    found = parsed(page)
    assert "<script" not in page and "javascript:" not in page
    names = {name for _, name, _ in found.attributes}
    assert not names & {"href", "srcset", "action"} and not any(name.startswith("on") for name in names)
    assert not re.search(r"https?://|url\(|@import", page)
    assert "default-src &#x27;none&#x27;" in page


def test_the_same_run_gives_the_same_page(view: RunView, page: str) -> None:
    assert render(RunView(view.folder)) == page


@pytest.mark.parametrize("size", [8, 32])
def test_page_is_small(tmp_path: Path, size: int, complete_run: Run) -> None:
    assert len(render(complete_run(tmp_path, size)).encode()) < 1_500_000
