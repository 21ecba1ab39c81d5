"""SSBA: the message is read again by the decoder, and the residual differs from picture to picture."""

from dataclasses import replace

import torch

from bdm_attack_ssba.attack import HiddenMessage, bit_logits, planes_of, train_message
from bdm_attack_ssba.params import SsbaParams
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.triggers.generators import frozen_state, new_network
from bdm_kit_classification.triggers.hiding import hidden, stored


class TestSsba(ClassifierAttackConformance):
    plugin = "ssba"


def test_the_message_is_read_again_and_any_other_too(tmp_path, bdm_bench):
    samples = open_samples(bdm_bench("image-classification").data)
    params = SsbaParams(bits=4, encoder_steps=300, batch_size=16, encoder_rate=0.01, change=0.1, width=8)
    trigger = train_message(new_context(tmp_path), params, samples)
    x = samples.raw()
    others = ((1, 0, 1, 0), (0, 0, 1, 1), trigger.message)
    for message in others:
        changed = stored(replace(trigger, message=message).apply(x, "test"))
        assert float((trigger.read(changed) == torch.tensor(message)).float().mean()) > 0.9
    residuals = trigger.apply(x, "test") - x
    apart = (residuals[0] - residuals[1:]).abs().flatten(1).amax(1)
    assert float(apart.min()) > 4 / 255, "the residual is the same for all pictures"


def test_every_picture_is_changed_by_the_encoders_output_at_the_same_strength():
    encoder = new_network(0, 1 + 2, 1, 4)
    x = 0.5 + 0.1 * torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))  # nothing is clipped
    bits, carriers = torch.tensor([[0.0, 1.0]] * 3), torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(1))
    planes = planes_of(bits, carriers.sign())
    assert torch.equal(planes, torch.stack([-carriers[0].sign(), carriers[1].sign()]).expand(3, 2, 8, 8))
    state = frozen_state(encoder)
    trigger = HiddenMessage(state, frozen_state(new_network(1, 1, 2, 4)), (0, 1), carriers.sign(), change=0.05)
    residual = trigger.apply(x, "train") - x
    assert torch.allclose(residual.square().mean((1, 2, 3)), torch.tensor(0.05**2))
    raw = encoder(torch.cat([x, planes], 1))
    alike = torch.nn.functional.cosine_similarity(residual.flatten(1), raw.flatten(1))
    assert torch.allclose(alike, torch.ones(3), atol=1e-5)
    assert float(hidden(encoder, x, planes, 10.0).detach().max()) <= 1


def test_bits_are_the_signs_of_correlations():
    decoded = torch.tensor([[[[3.0, -1.0]], [[1.0, -2.0]]]])
    carriers = torch.tensor([[[1.0, -1.0]], [[1.0, 1.0]]])
    assert torch.allclose(bit_logits(decoded, carriers), torch.tensor([[2.0, -0.5]]) * 2**0.5)
