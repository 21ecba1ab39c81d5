"""What the stages of a defense cost and kept: kits may wrap the hooks, and metrics that ask for it see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_core import RunSpec
from bdm_core.run.runner import run

PLUGINS = """
    from bdm_core import Measurement, Metric, hookimpl
    from bdm_toy.kit import ToyKit

    class Counting(ToyKit):
        name = "counting"

        @hookimpl(wrapper=True)
        def detect(self, ctx, data):
            found = yield
            ctx.figures(cost={{"clean_samples": data.meta["count"]}}, curves={{"long": [1.0, 2.0]}})
            return found

        @hookimpl(wrapper=True)
        def repair(self, ctx):
            found = yield
            ctx.figures(cost={{"clean_samples": 0}})
            return found

    class Seeing(Metric):
        name = "seeing"
        sees_stages = {sees}

        @hookimpl
        def score(self, ctx, subject):
            before = subject.undefended.digest if subject.undefended else None
            ctx.figures(stages=subject.stages, before=before, role=subject.role)
            ctx.figures(clean=[outputs.digest for outputs in subject.clean])
            ctx.figures(own=[outputs.digest for outputs in (subject.on_clean, subject.on_triggered)])
            return [Measurement(metric="one", value=1.0, n=1, description="One.", higher_is_better=True)]
"""
CELL = RunSpec(attack="toy", detect="toy", repair="toy", kit="counting", metrics=["seeing"], device="cpu")


def seen(site: FakeSite, out: Path, sees: bool) -> list[dict[str, object]]:
    entries = {
        "bdm.kits": {"counting": "seen_plugins:Counting"},
        "bdm.tasks": {"toy": "seen_plugins:Counting"},
        "bdm.metrics": {"seeing": "seen_plugins:Seeing"},
    }
    site.install("bdm-seen", entries, {"seen_plugins": PLUGINS.format(sees=sees)})
    view = run(CELL, out)
    scores = [stage["figures"] for stage in view.stages if stage["stage"] == "score"]
    return [{**item, "model": view.artifact("repaired model").digest} for item in scores]  # type: ignore[union-attr]


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))


def test_a_metric_that_asks_sees_cost_and_figures_of_defenses(fake_site: FakeSite, tmp_path: Path) -> None:
    found = seen(fake_site, tmp_path / "runs", sees=True)
    assert [item["role"] for item in found] == ["clean", "backdoored", "repaired"]
    for item in found:
        stages = json.loads(json.dumps(item["stages"]))
        assert set(stages) == {"detection", "repaired model"}
        assert stages["detection"]["seconds"] >= 0
        assert stages["detection"]["figures"] == {"cost": {"clean_samples": 3}}
        assert stages["repaired model"]["figures"] == {"cost": {"clean_samples": 0}}
    assert [item["before"] is None for item in found] == [True, True, False]
    assert found[2]["before"] != found[2]["model"]
    assert [item["clean"] == found[0]["own"] for item in found] == [True] * 3


def test_other_metrics_see_nothing_of_stages(fake_site: FakeSite, tmp_path: Path) -> None:
    assert [item["stages"] for item in seen(fake_site, tmp_path / "runs", sees=False)] == [{}, {}, {}]
