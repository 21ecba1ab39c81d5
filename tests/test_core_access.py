"""What a defense gets is what it declares: training rows, a black box, the start model; and what it is not told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_core import RunSpec, RunView
from bdm_core.artifacts import Data, roles_of, rows_of
from bdm_core.errors import PluginError, UserError
from bdm_core.run.cell import LEFT_AS_IT_IS
from bdm_core.run.preparation import prepare
from bdm_core.run.runner import run, scan

CELL = RunSpec(attack="toy", device="cpu", data_share=0.5)
SPY = """
    import json
    from bdm_core import Defense, Detection, Purified, hookimpl

    class Spy(Defense):
        name, level, access = "spy", "{level}", frozenset({access})

        @hookimpl
        def detect(self, ctx, model, data, suspects):
            ctx.figures(model=model is not None, data=data is not None, rows=suspects.file("rows.jsonl").read_text())
            {detect}
            count = 1 if self.level == "model" else suspects.meta["count"]
            return Detection(level=self.level, scores=[0.0] * count, threshold=0.5)

        @hookimpl
        def repair(self, ctx, model, data, training_data):
            given = [item for item in (model, data, training_data) if item]
            told = [str(item.path) + json.dumps(item.model_dump(mode="json")) for item in given]
            ctx.figures(model=model is not None, data=data is not None, training=training_data is not None, told=told)
            return {returns}
"""


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))


def with_(**changes: object) -> RunSpec:
    return RunSpec.model_validate({**CELL.model_dump(), **changes})


def spy(site: FakeSite, access: set[str], level: str = "model", detect: str = "pass", returns: str = "model") -> None:
    source = SPY.format(level=level, access=access or "()", detect=detect, returns=returns)
    site.install("bdm-defense-spy", {"bdm.defenses": {"spy": "spy_plugin:Spy"}}, {"spy_plugin": source})


def value(view: RunView, row: str, metric: str = "metric:toy.asr") -> float:
    (found,) = [line["value"] for line in view.results if (line["row"], line["metric"]) == (row, metric)]
    return float(found)


def figures(view: RunView, label: str) -> dict[str, object]:
    stage = view.stage(label)
    assert stage is not None
    return dict(stage["figures"])


@pytest.mark.parametrize(
    ("access", "seen"),
    [(set(), (False, False)), ({"weights"}, (True, False)), ({"clean-data"}, (False, True))],
)
def test_what_is_not_declared_is_not_handed_over(
    tmp_path: Path, fake_site: FakeSite, access: set[str], seen: tuple[bool, bool]
) -> None:
    returns = (
        "model" if "weights" in access else "__import__('bdm_toy.memory').memory.seal_model(ctx.out / 'model', [])"
    )
    spy(fake_site, access, returns=returns.replace("[]", "[{'key': [0, 0, 0, 0], 'value': [0, 0]}]"))
    view = run(with_(defense="spy", repair_always=True), tmp_path / "out")
    found = [figures(view, label) for label in ("detection", "repaired model")]
    assert [(item["model"], item["data"]) for item in found] == [seen, seen]
    assert found[1]["training"] is False
    labels = {entry["label"] for entry in view.stages}
    assert ("defender's data" in labels) == ("clean-data" in access)
    assert view.record["plugins"]["defense:spy"]["access"] == sorted(access)


def test_asking_a_black_box_without_saying_so_is_refused(tmp_path: Path, fake_site: FakeSite) -> None:
    spy(fake_site, {"clean-data"}, detect="ctx.query(suspects)")
    with pytest.raises(PluginError, match="must declare the access 'predictions'"):
        run(with_(detect="spy"), tmp_path / "out")


def test_a_black_box_answers_through_the_kit_and_shows_no_weights(tmp_path: Path) -> None:
    view = run(with_(detect="toy-black-box"), tmp_path)
    labels = [json.loads(row)["key"][-1] > 1 for row in view.result_of("suspects").file("rows.jsonl").open()]
    scores = view.result_of("detection").scores
    worst, best = (
        min(s for s, bad in zip(scores, labels, strict=True) if bad),
        max(s for s, bad in zip(scores, labels, strict=True) if not bad),
    )
    assert worst > best, "the answer to every triggered input is farther from clean answers than any clean one"
    assert figures(view, "detection")["queries"] == 16 + 64


def test_another_model_behind_the_black_box_is_another_stage(tmp_path: Path) -> None:
    def detected(**attack: object) -> bool:
        view = run(with_(detect="toy-black-box", params={"attack:toy": attack}), tmp_path)
        return not view.stage("detection")["cached"]  # type: ignore[index]

    assert (detected(steps=20), detected(steps=20), detected(steps=15)) == (True, False, True)


def test_training_rows_are_judged_without_their_roles(tmp_path: Path) -> None:
    view = run(with_(defense="toy-rows"), tmp_path)
    poisoned, rows = view.result_of("poisoned data"), view.result_of("training rows")
    assert isinstance(poisoned, Data) and isinstance(rows, Data)
    assert roles_of(poisoned).count("poison") == 8
    assert set(roles_of(rows)) == {"clean"} and not any({"role", "poisoned"} & set(row) for row in rows_of(rows))
    keys = [row["key"] for row in rows_of(poisoned)]
    assert [row["key"] for row in rows_of(rows)] != keys and sorted(row["key"] for row in rows_of(rows)) == sorted(keys)
    detection = view.result_of("detection")
    flagged = [
        row["key"] for row, score in zip(rows_of(rows), detection.scores, strict=True) if score > detection.threshold
    ]
    assert sorted(flagged) == sorted(
        key for key, role in zip(keys, roles_of(poisoned), strict=True) if role == "poison"
    )
    assert value(view, "backdoored") > 0.9 and value(view, "repaired") == 0


def test_labels_of_training_rows_follow_their_order(tmp_path: Path, fake_site: FakeSite) -> None:
    source = """
        from bdm_core import Measurement, Metric, hookimpl

        class Right(Metric):
            name = "right"

            @hookimpl
            def score(self, subject):
                found = subject.detection
                pairs = [] if found is None else zip(found.scores, subject.suspects)
                hits = [(score > found.threshold) == bad for score, bad in pairs]
                return [Measurement(metric="right", value=sum(hits) / len(hits) if hits else None, n=len(hits))]
    """
    fake_site.install("bdm-metric-right", {"bdm.metrics": {"right": "right_plugin:Right"}}, {"right_plugin": source})
    view = run(with_(detect="toy-rows", metrics=["right"]), tmp_path / "out")
    assert value(view, "backdoored", "metric:right.right") == 1.0


def test_a_repair_gets_the_rows_and_the_start_model(tmp_path: Path, fake_site: FakeSite) -> None:
    spy(fake_site, {"training", "training-data"})
    view = run(with_(repair="spy"), tmp_path / "out")
    seen = figures(view, "repaired model")
    assert (seen["model"], seen["data"], seen["training"]) == (True, False, True)
    assert view.result_of("repaired model").digest == view.result_of("model").digest
    told = " ".join(seen["told"]).lower().replace(str(tmp_path).lower(), "")  # type: ignore[arg-type]
    assert not [word for word in ("backdoor", "inject", "trigger", "poison", "secret", "role") if word in told]
    trained = run(with_(repair="toy-trainer"), tmp_path / "out")
    assert value(trained, "backdoored") > 0.9 and value(trained, "repaired") == 0


def test_a_defense_of_training_data_needs_an_attack_that_has_some(tmp_path: Path, fake_site: FakeSite) -> None:
    source = """
        from bdm_core import Attack, Backdoored, hookimpl
        from bdm_toy.attack import ToyAttack

        class Editor(Attack):
            name, tasks = "editor", ToyAttack.tasks

            @hookimpl
            def inject_backdoor(self, ctx, model, data):
                raise AssertionError("nothing may run")
    """
    entries = {"bdm.attacks": {"editor": "editor_plugin:Editor"}, "bdm.tasks": {"toy": "editor_plugin:Editor"}}
    fake_site.install("bdm-attack-editor", entries, {"editor_plugin": source})
    with pytest.raises(PluginError, match="defense:toy-rows needs training data, and attack:editor makes none"):
        run(with_(attack="editor", defense="toy-rows"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rejected_inputs_never_reach_the_model(tmp_path: Path) -> None:
    view = run(with_(purify="toy-filter"), tmp_path)
    clean, triggered = view.result_of("purified samples"), view.result_of("purified samples under trigger")
    assert (clean.meta["count"], triggered.meta["count"]) == (32, 0)
    assert value(view, "backdoored") > 0.9 and value(view, "purified") == 0
    blind = view.result_of("purified inputs under trigger, blind")
    assert blind.meta["count"] == 32
    figures_of_purifier = json.dumps(view.stage("purified inputs under trigger"))
    assert "secret" not in figures_of_purifier


def test_what_the_rows_say_is_hidden_from_a_purifier_and_put_back_afterwards(
    tmp_path: Path, fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bdm_toy import memory
    from bdm_toy.kit import ToyKit

    original = ToyKit.make_inputs

    from bdm_core import hookimpl

    @hookimpl
    def labelled(self, ctx, params, model, data):  # type: ignore[no-untyped-def]
        rows = memory.read_rows(original(self, ctx, params, model, data))
        (ctx.out / "data" / "manifest.json").unlink()
        return memory.seal_data(ctx.out / "data", [{**row, "role": f"row {i}"} for i, row in enumerate(rows)], "keys")

    monkeypatch.setattr(ToyKit, "make_inputs", labelled)
    view = run(with_(purify="toy-filter"), tmp_path)
    blind, passed = view.result_of("purified inputs, blind"), view.result_of("purified inputs").inputs
    assert not any("role" in row for row in rows_of(blind))
    assert [row["role"] for row in rows_of(passed)] == [f"row {i}" for i in range(32)]


def test_a_model_that_is_called_clean_is_left_alone(tmp_path: Path, fake_site: FakeSite) -> None:
    spy(fake_site, {"weights"}, returns="__import__('bdm_toy.memory').memory.seal_model(ctx.out / 'model', [])")
    view = run(with_(defense="spy"), tmp_path / "out")
    assert view.stage("repaired model") is None and view.record["notes"] == {"repair": LEFT_AS_IT_IS}
    assert value(view, "repaired") == value(view, "backdoored")
    with pytest.raises(Exception, match="repaired samples"):
        run(with_(defense="spy", repair_always=True), tmp_path / "out")  # an empty memory cannot answer


def test_one_defense_takes_the_roles_it_can(tmp_path: Path) -> None:
    prepared = prepare(with_(defense="toy-filter"))
    assert (prepared.spec.detect, prepared.spec.purify, prepared.spec.repair) == (None, "toy-filter", None)
    with pytest.raises(PluginError, match="defense:toy-filter cannot repair: it implements no repair; it can purify"):
        prepare(with_(repair="toy-filter"))


def test_a_scan_asks_every_detector_of_models_and_names_the_others(tmp_path: Path) -> None:
    backdoored = run(CELL, tmp_path).result_of("backdoored model").model
    asked = RunSpec(task="toy", device="cpu", data_share=0.5, model=str(backdoored.path), data="builtin")
    view = scan(asked, tmp_path)
    assert set(view.record["detections"]) == {"toy"} and view.verdict == "backdoored"
    reasons = view.record["not_checked"]
    assert reasons["toy-black-box"] == "judges inputs, not models"
    assert reasons["toy-rows"] == "judges training data, and none was given"
    assert "does not detect" in reasons["toy-filter"]
    rows = view_rows = scan(asked.model_copy(update={"training_data": "builtin", "detectors": ["toy-rows"]}), tmp_path)
    assert rows.verdict == "not identifiable" and len(view_rows.result_of("detection by toy-rows").scores) == 32
    with pytest.raises(UserError, match="judges inputs"):
        scan(asked.model_copy(update={"detectors": ["toy-black-box"]}), tmp_path)


def test_a_detector_that_is_asked_by_name_only_is_left_out_of_a_scan_of_all(fake_site: FakeSite) -> None:
    source = SPY.format(level="model", access="()", detect="pass", returns="model")
    source = source.replace("name, level", 'by_name_only = "it costs a day"\n        name, level')
    site_plugin = {"bdm.defenses": {"spy": "costly_plugin:Spy"}}
    fake_site.install("bdm-defense-spy", site_plugin, {"costly_plugin": source})
    asked = RunSpec(task="toy", device="cpu", data_share=0.5, data="builtin")
    everyone = prepare(asked)
    assert [item.plugin.name for item in everyone.scanners] == ["toy"]
    assert everyone.passed_over["spy"] == "it costs a day"
    assert [item.plugin.name for item in prepare(with_(attack=None, detectors=["spy"])).scanners] == ["spy"]
