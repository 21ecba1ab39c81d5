"""``report.html`` of a complete run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdm_cli.html import render
from bdm_results.view import RunView

Run = Callable[..., RunView]
Words = Callable[[str], str]

PARTS = """
Backdoored
elijah on the backdoored model, p = 0.010, from 179 clean samples.
one start point of eight agrees
Under the trigger, the attack succeeds on 97.7 % of the inputs of the backdoored model
(clean model: 0.0 %); after the repair, 1.2 %. Measured as ASR (MSE<0.05).
Utility, Frechet distance (digits): 0.471 for the backdoored model (clean model: 0.412); after the repair, 0.520.
Lower is better.
elijah access: weights, clean data
Results
Frechet distance (digits) ↓
MSE to target ↑
↑ higher is better, ↓ lower is better, as the defender sees it.
Samples
Clean inputs
Clean model, clean inputs
Backdoored model, triggered inputs
Repaired model
Trigger and target
Target
true trigger
Poisoned training data
Settings of the attack
Evidence
cosine similarity
Samples generated with the inverted trigger
uniformity
Loss curves
Stages
from the store
Provenance
bdm run --attack villan --defense elijah --set attack:villan.poison_rate=0.2
Example CPU
0bd94c5d0c8a5b7a9f3d
bdm-attack-villan 0.1.0
poison_rate=0.2, psi=0.0
123456789
"""


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory, complete_run: Run) -> RunView:
    return complete_run(tmp_path_factory.mktemp("complete"))


@pytest.fixture(scope="module")
def page(view: RunView) -> str:
    return render(view)


def test_every_part_of_a_complete_run_is_shown_in_order(page: str, words: Words) -> None:
    text = words(page)
    place = 0
    for part in PARTS.strip().splitlines():
        found = text.find(part, place)
        assert found >= 0, part
        place = found + len(part)


def test_values_have_errors_counts_and_explanations(page: str, words: Words) -> None:
    text = words(page)
    assert "0.977 ±0.010" in text
    assert "0.0004 ±0.0001" in text, "a small value does not turn into 0.000"
    assert 'title="value 0.977; standard error 0.010; n = 256"' in page
    assert "Share of triggered samples near the target." in text, "the measurement's own description"
    assert "Counts the corners." in text and "The plugin gives no description." in text


def test_six_grids_inputs_training_data_target_triggers_and_evidence(page: str, parsed: Any) -> None:
    found = parsed(page)
    pictures = [value for tag, name, value in found.attributes if (tag, name) == ("img", "alt")]
    assert sum("32 pictures" in alt and " model, " in alt for alt in pictures) == 6
    assert (
        sum("true trigger" in alt for alt in pictures) == 2 and sum("inverted trigger" in alt for alt in pictures) == 2
    )
    assert len(pictures) == len(set(pictures)) == 13
    assert all(pictures)
    sources = [value for tag, name, value in found.attributes if name == "src"]
    assert len(sources) == 13 and all(value.startswith("data:image/png;base64,") for value in sources)


def test_a_parameter_that_says_nothing_is_left_out(page: str, words: Words) -> None:
    text = words(page)
    assert "placeholder" not in text and "target=" not in text


def test_nothing_is_loaded_and_nothing_is_executed(page: str, parsed: Any) -> None:
    found = parsed(page)
    assert "<script" not in page and "javascript:" not in page
    names = {name for _, name, _ in found.attributes}
    assert not names & {"href", "srcset", "action"} and not any(name.startswith("on") for name in names)
    assert not re.search(r"https?://|url\(|@import", page)
    assert "default-src &#x27;none&#x27;; img-src data:; media-src data:;" in page


def test_the_same_run_gives_the_same_page(view: RunView, page: str) -> None:
    assert render(RunView(view.folder)) == page


@pytest.mark.parametrize("size", [8, 32])
def test_page_is_small(tmp_path: Path, size: int, complete_run: Run) -> None:
    assert len(render(complete_run(tmp_path, size)).encode()) < 1_500_000


def test_nothing_that_is_hidden_or_wide_makes_the_page_scroll_sideways(page: str) -> None:
    style = page.partition("<style>")[2].partition("</style>")[0]
    rules = dict(re.findall(r"([^{}]+)\{([^{}]*)\}", style))
    absolute = [body for body in rules.values() if "position: absolute" in body]
    assert len(absolute) == 2, "the caption and, on narrow pages, the head of a table that is a list there"
    for body in absolute:
        assert "width: 1px" in body and "height: 1px" in body and "overflow: hidden" in body
    scroll = next(body for name, body in re.findall(r"([^{}]+)\{([^{}]*)\}", style) if name.strip() == ".scroll")
    assert "position: relative" in scroll and "overflow-x: auto" in scroll, "else what is absolute escapes it"
    assert page.count("<table") == page.count('<div class="scroll"')


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser")
@pytest.mark.parametrize("width", [320, 390, 500])
def test_the_page_is_as_wide_as_a_narrow_window_in_a_browser(tmp_path: Path, page: str, width: int) -> None:
    frame = f'<iframe id="f" src="page.html" style="width:{width}px;height:600px;border:0"></iframe>'
    sizes = "const d = document.getElementById('f').contentDocument.documentElement"
    script = f"<script>onload = () => {{{sizes}; document.title = d.scrollWidth + ' ' + d.clientWidth}}</script>"
    (tmp_path / "frame.html").write_text(f"<!doctype html><title></title>{frame}{script}")
    (tmp_path / "page.html").write_text(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--no-first-run"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    command = [str(CHROMIUM), *options, (tmp_path / "frame.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    (content, window) = re.findall(r"<title>(\d+) (\d+)</title>", shown)[0]
    assert content == window, "the page scrolls sideways"
