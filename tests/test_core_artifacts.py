"""Sealing and opening: what is on disk is what was sealed, or there is one clear line."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bdm_core.artifacts import Data, Model, verify_if_sealed
from bdm_core.errors import ArtifactError
from bdm_core.files import MANIFEST
from bdm_core.records import Detection

TASK = "unconditional-image-generation"


@pytest.fixture
def sealed(tmp_path: Path) -> Model:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "weights.safetensors").write_bytes(b"\x00" * 64)
    return Model.seal(folder, format="diffusers", task=TASK, meta={"size": 8})


def test_the_manifest_names_every_file_with_its_sha256(sealed: Model) -> None:
    manifest = json.loads((sealed.path / MANIFEST).read_text())
    assert manifest["files"] == {
        "model_index.json": hashlib.sha256(b"{}").hexdigest(),
        "unet/weights.safetensors": hashlib.sha256(b"\x00" * 64).hexdigest(),
    }
    assert Model.open(sealed.path) == sealed


def test_the_digest_depends_on_content_and_not_on_the_place(sealed: Model, tmp_path: Path) -> None:
    moved = sealed.path.rename(tmp_path / "elsewhere")
    assert Model.open(moved).digest == sealed.digest
    (moved / "model_index.json").write_text("{ }")
    assert Model.seal(moved, format="diffusers", task=TASK, meta={"size": 8}).digest != sealed.digest


def test_a_changed_a_missing_and_an_extra_file_are_each_refused(sealed: Model) -> None:
    weights = sealed.path / "unet" / "weights.safetensors"
    weights.write_bytes(b"\x01" * 64)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors does not match the hash"):
        Model.open(sealed.path)
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"weights\.safetensors is missing"):
        Model.open(sealed.path)
    weights.write_bytes(b"\x00" * 64)
    (sealed.path / "extra.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"extra\.json is not in the manifest"):
        Model.open(sealed.path)


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", "a/../../b", "C:/x", "a\\b", "", "nul\x00"])
def test_a_manifest_whose_path_leaves_the_artifact_is_refused(sealed: Model, name: str) -> None:
    manifest = json.loads((sealed.path / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    (sealed.path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="leaves the artifact"):
        Model.open(sealed.path)


def test_links_are_refused_on_sealing_and_opening(sealed: Model, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    index = sealed.path / "model_index.json"
    index.unlink()
    index.symlink_to(outside)
    with pytest.raises(ArtifactError, match="is a link"):
        Model.open(sealed.path)
    with pytest.raises(ArtifactError, match="is a link"):
        Model.seal(sealed.path, format="diffusers", task=TASK)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.PT", "a/b.ckpt", "c.pkl", "d.npy"])
def test_pickle_suffixes_are_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with pytest.raises(ArtifactError, match="bdm import"):
        Model.seal(tmp_path / "model", format="diffusers", task=TASK)


def test_other_kinds_and_damaged_manifests_are_refused(sealed: Model, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is a model, not a data"):
        Data.open(sealed.path)
    with pytest.raises(ArtifactError, match="no sealed artifact"):
        Model.open(tmp_path)
    (sealed.path / MANIFEST).write_text("{half")
    with pytest.raises(ArtifactError, match="is not valid"):
        Model.open(sealed.path)
    with pytest.raises(ArtifactError, match="nothing to seal"):
        Data.seal(_made(tmp_path / "empty"), format="images", task=TASK)


def test_a_file_that_the_manifest_does_not_name_cannot_be_asked_for(sealed: Model) -> None:
    assert sealed.file("model_index.json").is_file()
    with pytest.raises(ArtifactError, match="has no file"):
        sealed.file("../model_index.json")


@pytest.mark.parametrize(
    ("scores", "conclusive", "verdict"),
    [([0.4], True, "clean"), ([0.6], True, "backdoored"), ([0.6], False, "not identifiable"), ([0.5], True, "clean")],
)
def test_the_verdict_follows_from_score_threshold_and_conclusiveness(
    scores: list[float], conclusive: bool, verdict: str
) -> None:
    assert Detection(level="model", scores=scores, threshold=0.5, conclusive=conclusive).verdict == verdict


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def _foreign(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text("{}")
    Model.seal(folder, format="diffusers", task="toy")
    return folder


def _leave(folder: Path) -> None:
    record = json.loads((folder / "manifest.json").read_text())
    record["files"]["../../elsewhere"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "unet/config.json").write_text("[]"), "does not match the hash"),
        (lambda folder: (folder / "unet/config.json").unlink(), "is missing"),
        (lambda folder: (folder / "more.json").write_text("{}"), "is not in the manifest"),
        (lambda folder: (folder / "more.json").symlink_to("/etc/passwd"), "is a link"),
        (_leave, "leaves the artifact"),
    ],
)
def test_a_sealed_folder_from_elsewhere_is_compared_with_its_manifest(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = _foreign(tmp_path)
    verify_if_sealed(str(folder))
    damage(folder)
    with pytest.raises(ArtifactError, match=message) as caught:
        verify_if_sealed(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["no json", "[]", '{"kind": "model"}', '{"schema_version": 3, "kind": "app"}'])
def test_a_manifest_of_another_program_is_left_to_the_kit(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    for reference in (str(tmp_path), None, "built-in", "hf:org/name@commit", "x" * 5000):
        verify_if_sealed(reference)
