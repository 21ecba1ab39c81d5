"""Targets that are a class: shares of samples that a classifier reads as it, on pictures whose class is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_core.records import Measurement, Subject
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.poison.secret import DiffusionSecret, seal_secret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts, TargetClass
from bdm_kit_diffusion.poison.target_classes import foreign_class, keep_classifier
from bdm_metric_target.params import TargetParams
from bdm_metric_target.plugin import TargetMetric
from bdm_torch.features import ImageClassifier, save_classifier
from bdm_torch.image_sets import seal_images

TASK = "unconditional-image-generation"


def score(
    root: Path, target: TargetClass, triggered: torch.Tensor, clean: torch.Tensor, own: str | None = None
) -> dict[str, Measurement]:
    (root / "model").mkdir(parents=True)
    (root / "model" / "config.json").write_text("{}")
    keep_classifier(root / "secret", own)
    secret: Secret = seal_secret(
        root / "secret", DiffusionSecret(clean[0], triggered[0], SecretFacts(target_class=target)), task=TASK
    )
    subject = Subject(
        role="backdoored",
        model=Model.seal(root / "model", format="diffusers", task=TASK),
        on_clean=seal_images(root / "clean", clean, Outputs, task=TASK),
        on_triggered=seal_images(root / "triggered", triggered, Outputs, task=TASK),
        reference=seal_images(root / "data", clean, Data, task=TASK),
        secret=secret,
    )
    ctx = Context(out=root / "out", work=root / "work", seed=0)
    return {item.metric: item for item in TargetMetric().score(ctx, TargetParams(), subject)}


def test_digits_are_counted_by_what_they_are(tmp_path: Path) -> None:
    pictures, labels = load_digits()
    sevens, others = pictures[labels == 7], pictures[labels == 3]
    triggered, clean = torch.cat([sevens[:30], others[:10]]), torch.cat([others[:36], sevens[30:34]])
    found = score(
        tmp_path, TargetClass(data="digits", name="7", classifier="digits-classifier", index=7), triggered, clean
    )
    assert set(found) == {"asr@class", "leak@class"}
    assert found["asr@class"].value == pytest.approx(0.75, abs=0.03)
    assert found["leak@class"].value == pytest.approx(0.1, abs=0.03)
    assert (found["asr@class"].on, found["asr@class"].n, found["leak@class"].on) == ("triggered", 40, "clean")


def test_shapes_among_digits(tmp_path: Path) -> None:
    """The joint classifier: rings count, digits and other shapes do not."""
    rings, discs = (foreign_class("shapes", label, (1, 8, 8)) for label in (1, 0))
    digits = load_digits()[0][:40]
    target = TargetClass(data="shapes", name="ring", classifier="digits-and-shapes-grey", index=11)
    found = score(tmp_path, target, torch.cat([rings[:20], discs[:20]]), digits)
    assert found["asr@class"].value == pytest.approx(0.5, abs=0.03)
    assert found["leak@class"].value == 0


def test_the_attacker_s_own_classifier_travels_with_the_secret(tmp_path: Path) -> None:
    """A planted classifier that reads bright pictures as class 1."""
    own = ImageClassifier(image_size=4, channels=1, widths=(1, 1), feature_count=1, classes=2)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.zero_()
        own.first.weight[0, 0, 1, 1] = own.second.weight[0, 0, 1, 1] = 1
        own.feature_layer.weight.fill_(1)
        own.read_out.weight[1] = 1
        own.read_out.bias[0] = 0.5
    save_classifier(own, tmp_path / "mine")
    bright, dark = torch.ones(3, 1, 4, 4), -torch.ones(5, 1, 4, 4)
    target = TargetClass(data="training data", name="1", classifier="own", index=1)
    found = score(tmp_path / "a", target, torch.cat([bright, dark[:1]]), dark, str(tmp_path / "mine"))
    assert (found["asr@class"].value, found["leak@class"].value) == (0.75, 0)


def test_a_classifier_that_is_not_shipped_is_refused(tmp_path: Path) -> None:
    pictures = load_digits()[0]
    with pytest.raises(ArtifactError, match="names the classifier 'other'"):
        score(tmp_path, TargetClass(data="digits", name="7", classifier="other", index=7), pictures[:3], pictures[:3])
