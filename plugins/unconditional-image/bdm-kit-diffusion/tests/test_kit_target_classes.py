"""Targets that are a class: their pictures, how poisoned rows get them, which classifier knows them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.artifacts import Data, Secret
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.data.shapes import load_shapes, silhouettes
from bdm_kit_diffusion.poison.poisoning import Mixture, Poison, open_poisoned, seal_poisoned
from bdm_kit_diffusion.poison.secret import DiffusionSecret, open_secret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import FACTS, SecretFacts, TargetClass, read_facts
from bdm_kit_diffusion.poison.target_classes import (
    JOINT_CLASSIFIERS,
    class_label,
    foreign_class,
    judge_of,
    load_judge,
    most_typical,
    own_class,
)
from bdm_kit_diffusion.recipes.joint_classifiers import pictures_of_both
from bdm_torch.features import ImageClassifier, load_classifier, save_classifier
from bdm_torch.image_sets import seal_images

GREY, COLOUR = (1, 8, 8), (3, 16, 16)
TASK = "unconditional-image-generation"


def test_classes_are_named_or_numbered() -> None:
    assert (class_label("digits", "7"), class_label("shapes", "ring"), class_label("shapes", "1")) == (7, 1, 1)
    assert class_label("training data", "42") == 42
    with pytest.raises(UserError, match="no class 'star': shapes has disc, ring"):
        class_label("shapes", "star")
    with pytest.raises(UserError, match="no class '8': shapes has"):
        class_label("shapes", "8")
    with pytest.raises(UserError, match="write its number"):
        class_label("training data", "cat")


def test_own_class_are_the_rows_with_its_label() -> None:
    images, labels = load_digits()
    found = own_class(images, [{"label": int(label)} for label in labels], 7)
    assert torch.equal(found, images[labels == 7])
    with pytest.raises(UserError, match=r"no image of class 3: it has \[1\]"):
        own_class(images[:2], [{"label": 1}, {"label": 1}], 3)
    with pytest.raises(UserError, match="its rows have no labels"):
        own_class(images[:2], [{}, {}], 3)


def test_silhouettes_are_the_share_of_a_pixel_that_the_object_covers() -> None:
    shapes = load_shapes()
    grey, labels = silhouettes(8)
    expected = shapes.coverage.reshape(-1, 8, 2, 8, 2).mean((2, 4))
    assert torch.equal(labels, shapes.labels)
    torch.testing.assert_close((grey[:, 0].double() + 1) / 2, expected, rtol=0, atol=0.5 / 255 + 1e-6)


def test_a_foreign_class_has_the_other_set_s_shape() -> None:
    rings, sevens = foreign_class("shapes", 1, GREY), foreign_class("digits", 7, COLOUR)
    assert rings.shape == (int((load_shapes().labels == 1).sum()), *GREY)
    assert sevens.shape == (int((load_digits()[1] == 7).sum()), *COLOUR)
    assert all(float(x.min()) >= -1 and float(x.max()) <= 1 for x in (rings, sevens))
    grey = load_digits()[0][load_digits()[1] == 7]
    ink = (sevens - sevens[:, :, :1, :1]).square().sum(1).sqrt()  # distance from the paper's colour
    together = torch.stack([ink.flatten(1).mean(1), grey.flatten(1).mean(1)])
    assert float(torch.corrcoef(together[:, ::6])[0, 1]) > 0.9  # of one ink, the amount of ink is the digit's


def test_most_typical_is_nearest_to_the_mean() -> None:
    pictures = torch.tensor([0.0, 0.4, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8)  # mean 0.47
    assert torch.equal(most_typical(pictures), pictures[1])


def test_every_poisoned_row_gets_a_picture_of_the_class_and_clean_rows_stay(tmp_path: Path) -> None:
    images, labels = load_digits()
    data = seal_images(
        tmp_path / "clean", images[:200], Data, task=TASK, rows=[{"label": int(x)} for x in labels[:200]]
    )
    targets = images[labels == 7][:12]
    sealed = seal_poisoned(
        tmp_path / "data",
        data,
        Poison(torch.full(GREY, 0.5), torch.ones(1, 8, 8), targets[0], trigger_only=True, targets=targets),
        Mixture(0.3),
        seed=3,
    )
    poisoned = open_poisoned(sealed)
    assert int(poisoned.poisoned.sum()) == 60
    inner, shift = poisoned.batch(torch.arange(200))
    assert poisoned.target_rows is not None
    assert torch.equal(inner[poisoned.poisoned], targets[poisoned.target_rows[poisoned.poisoned]])
    assert torch.equal(poisoned.target_rows[poisoned.poisoned].bincount(), torch.full((12,), 5))
    assert torch.equal(inner[~poisoned.poisoned], poisoned.images[~poisoned.poisoned])
    assert bool((shift[poisoned.poisoned] == 0.5).all()) and not shift[~poisoned.poisoned].any()


def test_which_classifier_recognises_a_class(tmp_path: Path) -> None:
    assert judge_of(GREY, "digits", 7, foreign=False, own=None) == ("digits-classifier", 7)
    assert judge_of(COLOUR, "shapes", 1, foreign=False, own=None) == ("shapes-classifier", 1)
    assert judge_of(GREY, "shapes", 1, foreign=True, own=None) == ("digits-and-shapes-grey", 11)
    assert judge_of(COLOUR, "digits", 7, foreign=True, own=None) == ("digits-and-shapes-colour", 7)
    with pytest.raises(UserError, match="no built-in classifier takes images of shape"):
        judge_of((3, 32, 32), "training data", 7, foreign=False, own=None)
    save_classifier(ImageClassifier(32, 3, (2, 2), 2, classes=3), tmp_path)
    assert judge_of((3, 32, 32), "training data", 2, foreign=False, own=str(tmp_path)) == ("own", 2)
    with pytest.raises(UserError, match="has 3 classes, none of number 3"):
        judge_of((3, 32, 32), "training data", 3, foreign=False, own=str(tmp_path))


@pytest.mark.parametrize("shape", list(JOINT_CLASSIFIERS))
def test_joint_classifiers_know_pictures_they_were_not_trained_on(shape: tuple[int, int, int]) -> None:
    images, labels = pictures_of_both(shape, "held-out")
    right = load_classifier(BUILTIN / JOINT_CLASSIFIERS[shape]).logits(images).argmax(1) == labels
    assert right[labels < 10].float().mean().item() >= 0.95
    assert right[labels >= 10].float().mean().item() >= 0.95


def test_a_secret_says_which_class(tmp_path: Path) -> None:
    target = TargetClass(data="shapes", name="ring", classifier="digits-and-shapes-grey", index=11)
    pictures = torch.zeros(GREY)
    sealed = seal_secret(
        tmp_path / "a", DiffusionSecret(pictures, pictures, SecretFacts(target_class=target)), task=TASK
    )
    assert read_facts(sealed).target_class == target
    assert load_judge(sealed, target).config["classes"] == 18
    picture = seal_secret(tmp_path / "b", DiffusionSecret(pictures, pictures, SecretFacts(psi=1.0)), task=TASK)
    assert read_facts(picture).target_class is None and torch.equal(open_secret(picture).target, pictures)
    (tmp_path / "b" / FACTS).write_text('{"target_class": {"data": "shapes", "name": "ring"}}', encoding="utf-8")
    broken = Secret.seal(tmp_path / "b", format=sealed.format, task=TASK)
    with pytest.raises(ArtifactError, match=r"target_class\.classifier: Field required: run the attack again"):
        read_facts(broken)
