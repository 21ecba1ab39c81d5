"""SSBA: the message is read again by the decoder, and the residual differs from picture to picture."""

import torch

from bdm_attack_ssba.attack import HiddenMessage, bit_logits, planes_of, train_message
from bdm_attack_ssba.params import SsbaParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.triggers.generators import frozen_state, new_network
from bdm_kit_classification.triggers.hiding import CHANGE, hidden, stored


class TestSsba(ClassifierAttackConformance):
    plugin = "ssba"


def test_the_message_is_read_again_and_any_other_too(tmp_path, bdm_bench):
    samples = open_samples(bdm_bench("image-classification").data)
    params = SsbaParams(bits=4, encoder_steps=300, batch_size=16, encoder_rate=0.01, picture_weight=20.0, width=8)
    trigger = train_message(new_context(tmp_path), params, samples)
    x = samples.raw()
    others = ((1, 0, 1, 0), (0, 0, 1, 1), trigger.message)
    for message in others:
        changed = stored(HiddenMessage(trigger.encoder, trigger.decoder, message, trigger.carriers).apply(x, "test"))
        assert float((trigger.read(changed) == torch.tensor(message)).float().mean()) > 0.9
    residuals = trigger.apply(x, "test") - x
    apart = (residuals[0] - residuals[1:]).abs().flatten(1).amax(1)
    assert float(apart.min()) > 4 / 255, "the residual is the same for all pictures"


def test_a_picture_is_changed_by_the_encoders_output_within_the_range():
    encoder = new_network(0, 1 + 2, 1, 4)
    x, bits = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([[0.0, 1.0]] * 3)
    carriers = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1)).sign()
    planes = planes_of(bits, carriers)
    assert torch.equal(planes, torch.stack([-carriers[0], carriers[1]]).expand(3, 2, 8, 8))
    expected = (x + CHANGE * encoder(torch.cat([x, planes], 1))).clamp(0, 1)
    trigger = HiddenMessage(frozen_state(encoder), frozen_state(new_network(1, 1, 2, 4)), (0, 1), carriers)
    assert torch.equal(hidden(encoder, x, planes), expected)
    assert torch.allclose(trigger.apply(x, "train"), expected)


def test_bits_are_the_signs_of_correlations():
    decoded = torch.tensor([[[[3.0, -1.0]], [[1.0, -2.0]]]])
    carriers = torch.tensor([[[1.0, -1.0]], [[1.0, 1.0]]])
    assert torch.allclose(bit_logits(decoded, carriers), torch.tensor([[2.0, -0.5]]) * 2**0.5)
