"""The store: what goes in comes out, in the right branch, or there is one clear line."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from bdm_core.artifacts import Evidence, Model, Secret
from bdm_core.errors import ArtifactError, StoreError
from bdm_core.records import Backdoored, Detection, Measurement
from bdm_core.store.stage_record import StageRecord, input_digests, stage_key
from bdm_core.store.store import Store, disk_error, paths

TASK = "toy"


def _sealed(cls: type, path: Path, text: str):  # type: ignore[no-untyped-def]
    path.mkdir(parents=True)
    (path / "content.json").write_text(json.dumps(text))
    return cls.seal(path, format="json", task=TASK)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    store.prepare()
    return store


def _publish(store: Store, stage: str, value: object, out: Path, known: dict[str, str] | None = None) -> StageRecord:
    key = stage_key({"stage": stage})
    result = store.encode(value, out=out, stage=stage, key=key, known=known or {})
    record = StageRecord(stage=stage, key=key, payload={"stage": stage}, result=result, seconds=1.0)
    return store.publish(record, out)


def test_a_backdoored_model_comes_back_and_its_secret_lies_in_another_branch(store: Store) -> None:
    out = store.work_folder("k") / "out"
    made = Backdoored(model=_sealed(Model, out / "model", "m"), secret=_sealed(Secret, out / "secret", "s"))
    record = _publish(store, "inject-backdoor", made, out)
    read = store.read("inject-backdoor", record.key)
    assert read == record
    back = store.decode(read.result)
    assert (back.model.digest, back.secret.digest) == (made.model.digest, made.secret.digest)
    assert back.secret.path.is_relative_to(store.root / paths.SECRETS)
    assert not list(store.folder("inject-backdoor", record.key).rglob("*secret*"))
    assert not store.work_folder(record.key).exists()


def test_an_unchanged_input_is_returned_as_a_reference_to_its_place(store: Store) -> None:
    first = store.work_folder("a") / "out"
    record = _publish(store, "open-model", _sealed(Model, first / "model", "m"), first)
    model = store.decode(record.result)
    second = store.work_folder("b") / "out"
    second.mkdir(parents=True)
    repaired = _publish(store, "repair", model, second, {model.digest: store.place_of(model)})
    assert store.decode(repaired.result).path == model.path


def test_records_with_evidence_and_lists_survive(store: Store) -> None:
    out = store.work_folder("k") / "out"
    evidence = _sealed(Evidence, out / "evidence", "e")
    detection = Detection(level="model", scores=[2.0], threshold=1.0, p_value=0.01, evidence=evidence, note="why")
    record = _publish(store, "detect", detection, out)
    back = store.decode(record.result)
    assert back.model_dump(exclude={"evidence"}) == detection.model_dump(exclude={"evidence"})
    assert back.evidence.digest == evidence.digest
    numbers = [Measurement(metric="mse", value=0.5, on="triggered"), Measurement(metric="asr", value=None)]
    out = store.work_folder("l") / "out"
    out.mkdir(parents=True)
    assert store.decode(_publish(store, "score", numbers, out).result) == numbers


def test_a_result_outside_the_stage_folder_is_refused(store: Store, tmp_path: Path) -> None:
    elsewhere = _sealed(Model, tmp_path / "elsewhere", "m")
    with pytest.raises(ArtifactError, match=r"below ctx\.out"):
        store.encode(elsewhere, out=store.work_folder("k") / "out", stage="repair", key="k" * 64, known={})


def test_damage_after_publishing_is_noticed(store: Store) -> None:
    out = store.work_folder("k") / "out"
    record = _publish(store, "open-model", _sealed(Model, out / "model", "m"), out)
    folder = store.folder("open-model", record.key)
    for path in folder.rglob("*.json"):
        path.chmod(0o644)
    (folder / "model" / "content.json").write_text('"x"')
    with pytest.raises(ArtifactError, match="does not match the hash"):
        Store(store.root.parent).decode(record.result)
    Model.seal(folder / "model", format="json", task=TASK)  # even when the manifest was forged as well
    with pytest.raises(ArtifactError, match="not what its stage sealed"):
        Store(store.root.parent).decode(record.result)
    (folder / "stage.json").write_text("{")
    with pytest.raises(ArtifactError, match="damaged"):
        store.read("open-model", record.key)


def test_a_number_that_was_changed_in_a_record_is_noticed(store: Store) -> None:
    out = store.work_folder("l") / "out"
    out.mkdir(parents=True)
    record = _publish(store, "score", [Measurement(metric="mse", value=0.5)], out)
    path = store.folder("score", record.key) / "stage.json"
    path.write_text(path.read_text().replace("0.5", "0.1"))
    with pytest.raises(ArtifactError, match="is damaged: delete the folder"):
        store.read("score", record.key)


@pytest.mark.parametrize("lost", ["model", "secret"])
def test_an_artifact_that_is_gone_is_made_again(store: Store, lost: str) -> None:
    def made(name: str) -> tuple[Backdoored, Path]:
        out = store.work_folder(name) / "out"
        model, secret = _sealed(Model, out / "model", "m"), _sealed(Secret, out / "secret", "s")
        return Backdoored(model=model, secret=secret), out

    record = _publish(store, "inject-backdoor", *made("a"))
    shutil.rmtree(getattr(store.decode(record.result), lost).path)
    assert store.read("inject-backdoor", record.key) is None
    again = _publish(store, "inject-backdoor", *made("b"))
    assert store.read("inject-backdoor", record.key) == again
    assert Store(store.root.parent).decode(again.result).secret.digest == made("c")[0].secret.digest


def test_a_stage_killed_between_its_two_moves_can_be_published_again(store: Store) -> None:
    key = stage_key({"stage": "inject-backdoor"})
    out = store.work_folder("k") / "out"
    made = Backdoored(model=_sealed(Model, out / "model", "m"), secret=_sealed(Secret, out / "secret", "s"))
    result = store.encode(made, out=out, stage="inject-backdoor", key=key, known={})
    _sealed(Secret, store.root / result["fields"]["secret"]["at"], "half")
    record = StageRecord(stage="inject-backdoor", key=key, payload={}, result=result, seconds=1.0)
    store.publish(record, out)
    assert store.decode(record.result).secret.digest == made.secret.digest


def test_a_result_that_is_already_published_stays(store: Store) -> None:
    first = store.work_folder("a") / "out"
    record = _publish(store, "open-model", _sealed(Model, first / "model", "first"), first)
    second = store.work_folder("b") / "out"
    late = _sealed(Model, second / "model", "second")
    result = store.encode(late, out=second, stage="open-model", key=record.key, known={})
    kept = store.publish(record.model_copy(update={"result": result, "seconds": 9.0}), second)
    assert kept == record == store.read("open-model", record.key)
    assert store.result(kept).digest != late.digest


@pytest.mark.parametrize("place", ["/etc", "../../elsewhere/model", "open-model/../../model", "", "C:/model"])
def test_a_record_that_leads_out_of_the_store_is_refused(store: Store, tmp_path: Path, place: str) -> None:
    model = _sealed(Model, tmp_path / "elsewhere" / "model", "m")
    result = {"$artifact": "Model", "at": place, "digest": model.digest}
    record = StageRecord(stage="open-model", key="k", payload={}, result=result, seconds=1.0)
    with pytest.raises(ArtifactError, match="is damaged: delete the folder"):
        store.result(record)


@pytest.mark.parametrize(
    "result",
    [
        {"$artifact": "Nothing", "at": "x", "digest": ""},
        {"$artifact": "Model", "at": 3, "digest": ""},
        {"$record": "Detection", "fields": {"level": "model"}},
        {"$record": "Detection", "fields": 3},
        {"other": 1},
    ],
)
def test_a_record_of_valid_json_that_makes_no_sense_is_one_line(store: Store, result: object) -> None:
    folder = store.folder("detect", "k")
    folder.mkdir(parents=True)
    sealed = StageRecord(stage="detect", key="k", payload={}, result=result, seconds=1.0).sealed()
    record = sealed.model_dump(mode="json")
    (folder / "stage.json").write_text(json.dumps(record))
    with pytest.raises(ArtifactError, match=r"stage\.json is damaged") as caught:
        store.result(store.read("detect", "k") or sealed)
    assert "\n" not in str(caught.value)
    for text in ("[]", "3", json.dumps({**record, "key": "other"}), json.dumps({"stage": "detect"})):
        (folder / "stage.json").write_text(text)
        with pytest.raises(ArtifactError, match=r"stage\.json is damaged"):
            store.read("detect", "k")


def test_keys_depend_on_every_part_and_not_on_order() -> None:
    payload = {"stage": "a", "seed": 1, "params": {"x": 1, "y": 2.5}}
    assert stage_key(payload) == stage_key(dict(reversed(payload.items())))
    assert len({stage_key({**payload, "seed": seed}) for seed in range(4)}) == 4


def test_inputs_count_by_digest_and_not_by_path(store: Store, tmp_path: Path) -> None:
    one, two = _sealed(Model, tmp_path / "one", "m"), _sealed(Model, tmp_path / "two", "m")
    assert input_digests([one, {"a": 1}]) == input_digests([two, {"a": 1}])
    assert input_digests(Detection(level="model", scores=[1.0], threshold=0.0))["scores"] == [1.0]


@pytest.mark.parametrize(
    ("code", "message"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "cannot use"), (errno.EROFS, "--out")]
)
def test_disk_errors_are_one_line_with_exit_code_2(code: int, message: str) -> None:
    error = disk_error(OSError(code, "reason", "/some/where"))
    assert isinstance(error, StoreError) and error.exit_code == 2
    assert message in str(error) and "/some/where" in str(error) and "\n" not in str(error)


def test_an_output_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out"):
        Store(tmp_path / "file").prepare()
