"""The runner on the toy task: a whole cell, the store, seeds, blindness, records, and clear errors."""

import json
from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_cli.tables import ROWS
from bdm_core.errors import BdmError, StageError, StoreError, UserError
from bdm_core.records import Backdoored, Detection
from bdm_core.run.preparation import prepare
from bdm_core.run.runner import run, scan
from bdm_core.run.specification import RunSpec
from bdm_core.store.lease import Lease
from bdm_results.rows import runs_in
from bdm_results.view import RunView

CELL = RunSpec(attack="toy", detect="toy", repair="toy", device="cpu", data_share=0.5)


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))


def _with(spec: RunSpec, **changes: object) -> RunSpec:
    return RunSpec.model_validate({**spec.model_dump(), **changes})


def _digests(view: RunView) -> dict[str, list[str]]:
    return {entry["label"]: entry["digests"] for entry in view.stages}


def _value(view: RunView, row: str, metric: str) -> float:
    (value,) = [line["value"] for line in view.results if (line["row"], line["metric"]) == (row, metric)]
    return float(value)


def test_a_cell_runs_all_stages_and_fills_all_rows(tmp_path: Path) -> None:
    view = run(CELL, tmp_path)
    assert view.record["status"] == "complete"
    assert {line["row"] for line in view.results} == set(ROWS) - {"purified"}
    assert _value(view, "backdoored", "metric:toy.asr") > 0.9
    assert _value(view, "clean under trigger", "metric:toy.asr") == 0
    assert _value(view, "repaired", "metric:toy.asr") == 0
    assert view.record["detections"]["backdoored"]["verdict"] == "backdoored"
    assert [entry["label"] for entry in view.stages][:5] == [
        "model",
        "data",
        "inputs",
        "poisoned data",
        "clean samples",
    ]
    assert isinstance(view.result_of("backdoored model"), Backdoored)
    assert isinstance(view.result_of("detection"), Detection)
    assert view.stage("backdoored model")["figures"]["curves"]["loss"]  # type: ignore[index]


def test_the_second_run_takes_everything_from_the_store(tmp_path: Path) -> None:
    first, second = run(CELL, tmp_path), run(CELL, tmp_path)
    cached = {entry["label"] for entry in first.stages if entry["cached"]}
    assert all("repaired" in label for label in cached)  # the repaired memory is the clean one: its samples are known
    assert all(entry["cached"] for entry in second.stages)
    assert [line["value"] for line in first.results] == [line["value"] for line in second.results]
    assert [view.folder for view in runs_in(tmp_path)] == sorted([first.folder, second.folder])


def test_the_same_cell_elsewhere_gives_the_same_digests(tmp_path: Path) -> None:
    assert _digests(run(CELL, tmp_path / "one")) == _digests(run(CELL, tmp_path / "two"))


def test_a_change_repeats_only_what_depends_on_it(tmp_path: Path) -> None:
    run(CELL, tmp_path)

    def repeated(spec: RunSpec) -> set[str]:
        return {entry["label"] for entry in run(spec, tmp_path).stages if not entry["cached"]}

    fewer_digits = repeated(_with(CELL, params={"kit:toy": {"digits": 3}}))
    assert all("samples" in label or "score" in label for label in fewer_digits) and fewer_digits
    other_defense = repeated(_with(CELL, params={"defense:toy": {"limit": 2.6}}))
    assert "detection" in other_defense and "backdoored model" not in other_defense
    assert "clean samples" not in repeated(_with(CELL, params={"attack:toy": {"shift": 5.0}}))
    assert "backdoored model" in repeated(_with(CELL, seed=1))


def test_a_detector_of_models_shares_its_verdict_with_a_scan(tmp_path: Path) -> None:
    with_clean = run(_with(CELL, scan_clean=True), tmp_path)
    assert with_clean.record["detections"]["clean"]["verdict"] == "clean"
    scanned = scan(RunSpec(detectors=["toy"], task="toy", device="cpu", data_share=0.5), tmp_path)
    assert scanned.record["detections"]["toy"] == with_clean.record["detections"]["clean"]
    assert all(entry["cached"] for entry in scanned.stages)


def test_a_share_of_the_inputs_gets_the_trigger(tmp_path: Path) -> None:
    def counts(**more: object) -> tuple[int, int, list[str]]:
        view = run(_with(CELL, **more), tmp_path)
        clean, triggered = (view.result_of(f"backdoored samples{end}") for end in ("", " under trigger"))
        rows = view.result_of("triggered inputs").file("rows.jsonl").read_text().splitlines()
        return clean.meta["count"], triggered.meta["count"], rows

    every, share = counts(), counts(triggered_share=0.25)
    assert every[0] == every[1] == share[0] == 4 * share[1]
    assert share[2] == every[2][: share[1]], "the first rows, with the same trigger"
    assert counts(triggered_share=1e-6)[1] == 1


def test_a_scan_of_a_folder_depends_on_its_content(tmp_path: Path) -> None:
    made = run(CELL, tmp_path).result_of("backdoored model")
    folder = tmp_path / "downloaded"
    folder.mkdir()
    (folder / "memory.json").write_bytes(made.model.file("memory.json").read_bytes())
    spec = RunSpec(detectors=["toy"], task="toy", device="cpu", model=str(folder), data_share=0.5, data="builtin")
    assert scan(spec, tmp_path).record["detections"]["toy"]["verdict"] == "backdoored"
    clean = json.loads((folder / "memory.json").read_text())["cells"][:8]
    (folder / "memory.json").write_text(json.dumps({"cells": clean}))
    assert scan(spec, tmp_path).record["detections"]["toy"]["verdict"] == "clean"


BLIND = """
    import json
    from bdm_core.records import Detection
    from bdm_core import Defense, hookimpl

    class Spy(Defense):
        name, level = "spy", "{level}"

        @hookimpl
        def detect(self, ctx, model, data, suspects):
            seen = [str(x.path) + json.dumps(x.model_dump(mode="json")) for x in (model, data, suspects)]
            ctx.figures(seen=seen, rows=suspects.file("rows.jsonl").read_text().splitlines())
            return Detection(level="{level}", scores=[0.0] * (1 if "{level}" == "model" else 64), threshold=0.5)
"""


@pytest.mark.parametrize("level", ["model", "input"])
def test_a_defense_sees_neutral_paths_and_no_labels(tmp_path: Path, fake_site: FakeSite, level: str) -> None:
    fake_site.install(
        "bdm-defense-spy", {"bdm.defenses": {"spy": "spy_plugin:Spy"}}, {"spy_plugin": BLIND.format(level=level)}
    )
    out = tmp_path / "out"
    view = run(_with(CELL, detect="spy"), out)
    figures = view.stage("detection")["figures"]  # type: ignore[index]
    told = " ".join(figures["seen"]).replace(str(out), "").lower()
    assert not [word for word in ("backdoor", "inject", "trigger", "poison", "secret", "toy-attack") if word in told]
    triggered = [row for row in figures["rows"] if json.loads(row)["key"][-1] > 1]
    if level == "model":
        assert triggered == []
    else:
        assert len(triggered) == 32 and figures["rows"][32:] != triggered  # a mix, and shuffled
        assert view.result_of("suspects").meta == {"count": 64}


def test_warnings_of_a_stage_are_repeated_from_the_store(
    tmp_path: Path, fake_site: FakeSite, caplog: pytest.LogCaptureFixture
) -> None:
    source = BLIND.format(level="model").replace("seen = ", "ctx.log.warning('norm is small'); seen = ")
    fake_site.install("bdm-defense-spy", {"bdm.defenses": {"spy": "spy_plugin:Spy"}}, {"spy_plugin": source})
    for _ in range(2):
        caplog.clear()
        view = run(_with(CELL, detect="spy", repair=None), tmp_path / "out")
        assert "norm is small" in caplog.text
        assert view.stage("detection")["warnings"] == ["norm is small"]  # type: ignore[index]


def test_a_failing_stage_is_named_and_finished_ones_are_kept(tmp_path: Path) -> None:
    failing = _with(CELL, params={"attack:toy": {"fail_at": 5}})
    with pytest.raises(
        StageError, match="attack:toy failed while making 'backdoored model': ValueError: asked to fail"
    ):
        run(failing, tmp_path, name="failed")
    view = RunView(tmp_path / "failed")
    assert (view.record["status"], StageError("").exit_code) == ("failed", 1)
    assert "asked to fail" in view.record["error"]
    assert [entry["label"] for entry in view.stages][-1] == "clean samples"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attack": "toi"}, "did you mean 'toy'"),
        ({"task": "text-to-image"}, "no installed kit serves task text-to-image|does not work for task"),
        ({"params": {"attack:other": {"x": 1}}}, "not used by this run"),
        ({"params": {"attack:toy": {"poison_rate": 7}}}, "Share of training rows to poison"),
        ({"metrics": ["missing"]}, "no metric 'missing'"),
        ({"device": "cuda:9"}, "not available here"),
        ({"model": "nowhere"}, "no model 'nowhere'"),
    ],
)
def test_bad_input_is_one_line_with_exit_code_2(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run(_with(CELL, **changes), tmp_path)
    assert caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_all_plugins_are_checked_before_the_first_stage(tmp_path: Path, fake_site: FakeSite) -> None:
    source = BLIND.format(level="model").replace("model, data, suspects", "model, date")
    fake_site.install("bdm-defense-spy", {"bdm.defenses": {"spy": "spy_plugin:Spy"}}, {"spy_plugin": source})
    with pytest.raises(UserError, match="date"):
        run(_with(CELL, repair="spy"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_repairer_cannot_scan_and_a_defense_is_no_attack(fake_site: FakeSite) -> None:
    source = """
        from bdm_core import Defense, hookimpl

        class Mender(Defense):
            name = "mender"

            @hookimpl
            def repair(self, model):
                return model
    """
    fake_site.install(
        "bdm-defense-mender", {"bdm.defenses": {"mender": "mender_plugin:Mender"}}, {"mender_plugin": source}
    )
    with pytest.raises(UserError, match="does not detect"):
        prepare(RunSpec(detectors=["mender"], task="toy", device="cpu"))


def test_a_run_folder_that_another_process_holds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    lease = Lease(tmp_path / "mine" / ".lease")
    assert lease.acquire()
    with pytest.raises(StoreError, match="is held by process"):
        run(CELL, tmp_path, name="mine")
    lease.release()
    assert run(CELL, tmp_path, name="mine").record["status"] == "complete"
    with pytest.raises(UserError, match="holds another run"):
        run(_with(CELL, seed=1), tmp_path, name="mine")


def test_a_damaged_stored_model_is_one_line(tmp_path: Path) -> None:
    model = run(CELL, tmp_path).result_of("repaired model")
    model.file("memory.json").chmod(0o644)
    model.file("memory.json").write_text("{}")
    with pytest.raises(UserError, match="does not match the hash"):
        run(CELL, tmp_path)


def test_a_full_disk_is_one_line_and_the_run_continues_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.rename

    def full(self: Path, target: Path) -> Path:
        if "inject-backdoor" in str(target):
            raise OSError(28, "No space left on device", str(target))
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(BdmError, match="disk is full") as caught:
        run(CELL, tmp_path)
    assert caught.value.exit_code == 2
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))
    view = run(CELL, tmp_path)
    assert view.stage("poisoned data")["cached"]  # type: ignore[index]


def test_records_name_seed_versions_plugins_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "do-not-write-me")
    view = run(CELL, tmp_path, command="bdm run --attack toy --set metric:x.token=do-not-write-me")
    record = view.record
    assert record["seed"] == 0 and record["stage_seeds"]["backdoored model"] > 0
    assert set(record["plugins"]) == {"kit:toy", "attack:toy", "defense:toy", "metric:toy"}
    assert record["plugins"]["attack:toy"]["params"]["poison_rate"] == 0.25
    assert "do-not-write-me" not in "".join(path.read_text() for path in view.folder.iterdir() if path.is_file())
