"""Where data come from, and that the parts are disjoint; a whole attack on a folder of pictures."""

import pytest
import torch
from PIL import Image

from bdm_core.artifacts import Model
from bdm_core.discovery.candidates import find
from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.rows import select

CLASSES = ["cat", "dog"]


def model_of(tmp_path, shape=(3, 32, 32), architecture="preact-resnet18", classes=CLASSES) -> Model:
    config = ImageConfig(architecture=architecture, width=4, shape=shape, classes=classes)
    return seal_classifier(build(config, seed=0), tmp_path / "model")


def draw(folder, count, start=0):
    """Pictures of classes told by their red; each differs from all others."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for row in range(count):
            colour = (200 * label, start + row, 7)
            Image.new("RGB", (40, 36), colour).save(folder / name / f"{row}.png")
    return folder


def pixels(samples):
    return {tuple(picture[:, 0, 0].tolist()) for picture in samples.stored}


def parts(data):
    return [open_samples(data, part) for part in ("samples", "reserve", "test")]


def test_built_in_parts_are_disjoint():
    found = load_builtin("digits")
    rows = [{picture.numpy().tobytes() for picture in pictures} for pictures, _ in found[:3]]
    assert not rows[0] & rows[1] and not rows[0] & rows[2] and not rows[1] & rows[2]


@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [
        ("mnist-5k", (1, 28, 28), [4000, 400, 600]),
        ("colour-digits", (3, 24, 24), [4000, 400, 600]),
        ("clutter", (3, 16, 16), [7600, 800, 800]),
    ],
)
def test_built_in_data(name, shape, sizes):
    found = load_builtin(name)
    assert [len(labels) for _, labels in found[:3]] == sizes
    for pictures, labels in found[:3]:
        assert pictures.dtype == torch.uint8 and tuple(pictures.shape[1:]) == shape
        assert set(labels.tolist()) == set(range(10))


def test_a_folder_of_classes(tmp_path):
    model = model_of(tmp_path)
    data = open_reference(str(draw(tmp_path / "pictures", 50)), model, tmp_path / "data", tmp_path)
    found = parts(data)
    assert [len(part) for part in found] == [74, 10, 16] and found[0].classes == CLASSES
    assert len(set.union(*map(pixels, found))) == 100
    for part in found:
        assert all(
            int(picture[0, 0, 0]) == 200 * label for picture, label in zip(part.stored, part.labels, strict=True)
        )


def test_train_and_test_folders_are_kept_apart(tmp_path):
    root = tmp_path / "pictures"
    draw(root / "train", 50)
    draw(root / "test", 10, start=100)
    found = parts(open_reference(str(root), model_of(tmp_path), tmp_path / "data", tmp_path))
    assert [len(part) for part in found] == [90, 10, 20]
    assert {colour[1] >= 100 for colour in pixels(found[2])} == {True}


def test_files_of_other_formats_are_counted(tmp_path, caplog):
    folder = draw(tmp_path / "pictures", 20)
    for name in CLASSES:
        Image.new("RGB", (8, 8)).save(folder / name / "moving.gif")
        (folder / name / "notes.txt").write_text("no news")
    found = parts(open_reference(str(folder), model_of(tmp_path), tmp_path / "data", tmp_path))
    assert sum(map(len, found)) == 40
    assert [record.message for record in caplog.records] == [f"{folder}: 2 files are left out (.gif 2)"]
    for path in (folder / CLASSES[0]).glob("*.png"):
        path.unlink()
    with pytest.raises(UserError, match="holds no pictures: every class needs some, of PNG, JPEG"):
        open_reference(str(folder), model_of(tmp_path / "b"), tmp_path / "other", tmp_path)


def test_a_saved_data_set(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    pictures = [Image.new("RGB", (32, 32), (200 * (row % 2), row, 7)) for row in range(60)]
    table = datasets.Dataset.from_dict({"img": pictures, "label": [row % 2 for row in range(60)]}, features=features)
    table.save_to_disk(str(tmp_path / "saved"))
    found = parts(open_reference(str(tmp_path / "saved"), model_of(tmp_path), tmp_path / "data", tmp_path))
    assert sum(map(len, found)) == 60 and len(set.union(*map(pixels, found))) == 60
    for part in found:
        assert all(
            int(picture[0, 0, 0]) == 200 * label for picture, label in zip(part.stored, part.labels, strict=True)
        )


def test_what_does_not_fit_is_one_line(tmp_path):
    model = model_of(tmp_path, classes=["a", "b", "c"])
    with pytest.raises(UserError, match="has 2 classes, the model 3"):
        open_reference(str(draw(tmp_path / "pictures", 20)), model, tmp_path / "data", tmp_path)
    with pytest.raises(UserError, match="name them with --data"):
        open_reference(None, model, tmp_path / "data", tmp_path)
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match="one for each class"):
        open_reference(str(tmp_path / "empty"), model, tmp_path / "data", tmp_path)
    with pytest.raises(UserError, match="too few"):
        open_reference(str(draw(tmp_path / "few", 2)), model, tmp_path / "data", tmp_path)


@pytest.mark.parametrize("architecture", ["preact-resnet18", "vgg19-bn"])
def test_an_attack_on_a_folder_of_pictures(architecture, tmp_path):
    """One step of BadNets, and one of fine-tuning, with the networks of the published leaderboards."""
    model = model_of(tmp_path, architecture=architecture)
    data = open_reference(str(draw(tmp_path / "pictures", 30)), model, tmp_path / "data", tmp_path)
    plugin = find("attack", "badnets", model.task).load()
    params = plugin.Params(epochs=1, batch_size=64)
    poisoned = plugin.poison_data(new_context(tmp_path / "a"), params, data)
    made = plugin.inject_backdoor(new_context(tmp_path / "b"), params, model, poisoned)
    defense = find("defense", "fine-tune", model.task).load()
    first = len(open_samples(data))
    reserve = select(new_context(tmp_path / "c"), [data], list(range(first, first + 4)), blind=True)
    params = defense.Params(epochs=1, batch_size=64)
    repaired = defense.repair(new_context(tmp_path / "d"), params, made.model, reserve)
    for result in (made.model, repaired):
        assert load_classifier(result)(torch.rand(2, 3, 32, 32)).shape == (2, 2)
    assert repaired.digest != made.model.digest
