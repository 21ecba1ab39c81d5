"""Adaptive-Patch: which pixels change, by how much, in which phase."""

import pytest
import torch

from bdm_attack_adaptive_patch.attack import patches
from bdm_attack_adaptive_patch.params import AdaptivePatchParams
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestAdaptivePatch(ClassifierAttackConformance):
    plugin = "adaptive-patch"

    def test_covers_have_the_trigger_and_their_own_label(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        covers = [row for row, role in enumerate(found.roles) if role == "cover"]
        assert len(covers) == 2 and found.roles.count("poison") == 4
        assert torch.equal(clean.labels[covers], found.labels[covers])
        assert (clean.raw(covers) != found.raw(covers)).flatten(1).any(1).all()


def test_a_training_picture_has_one_patch_at_its_opacity_and_a_test_picture_all():
    params = AdaptivePatchParams(size=3, opacities=[0.25, 0.5, 0.75, 1.0], test_opacity=0.5, test_patches=0)
    trigger = patches(params, [3, 10, 12], seed=0)
    x = torch.full((40, 3, 10, 12), 0.25)
    found = trigger.apply(x, "train", torch.Generator().manual_seed(0))
    corners = [
        (slice(0, 3), slice(0, 3)),
        (slice(0, 3), slice(9, 12)),
        (slice(7, 10), slice(0, 3)),
        (slice(7, 10), slice(9, 12)),
    ]
    drawn = set()
    for picture in found:
        changed = [number for number, here in enumerate(corners) if (picture[(slice(None), *here)] != 0.25).any()]
        assert len(changed) == 1
        drawn.add(changed[0])
        opacity, here = params.opacities[changed[0]], (slice(None), *corners[changed[0]])
        black, white = 0.25 * (1 - opacity), 0.25 * (1 - opacity) + opacity
        assert set(picture[here].flatten().tolist()) <= {black, white}
        outside = picture.clone()
        outside[here] = 0.25
        assert bool((outside == 0.25).all())
    assert drawn == {0, 1, 2, 3}
    tested = trigger.apply(x[:1], "test")[0]
    for here in corners:
        assert set(tested[(slice(None), *here)].flatten().tolist()) <= {0.125, 0.625}


def test_fewer_patches_at_test():
    trigger = patches(AdaptivePatchParams(size=2, test_patches=2), [1, 8, 8], seed=1)
    changed = (trigger.apply(torch.full((1, 1, 8, 8), 0.5), "test") != 0.5)[0, 0]
    assert changed[:2, :2].all() and changed[:2, 6:].all() and int(changed.sum()) == 8


def test_what_cannot_be_is_said():
    with pytest.raises(UserError, match="do not fit into 8x8"):
        patches(AdaptivePatchParams(size=5), [1, 8, 8], seed=0)
    with pytest.raises(UserError, match="more than the 4 patches"):
        patches(AdaptivePatchParams(test_patches=5), [1, 8, 8], seed=0)
    with pytest.raises(UserError, match="at most 1"):
        patches(AdaptivePatchParams(opacities=[2.0, 0.5]), [1, 8, 8], seed=0)
