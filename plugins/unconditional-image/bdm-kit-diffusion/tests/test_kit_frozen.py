"""A frozen network answers as before, up to rounding, and comes back exactly as it was."""

from __future__ import annotations

import pytest
import torch

from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.inversion.frozen import frozen
from bdm_kit_diffusion.models.diffusion_model import load_model


@pytest.mark.parametrize("name", ["digits-tiny", "digits-ve", "shapes-ldm"])
def test_answers_and_gradients_are_the_same(name: str) -> None:
    model = load_model(BUILTIN / name)
    network = model.unet
    start = torch.randn(3, *model.shape, generator=torch.Generator().manual_seed(0))

    def ask() -> tuple[torch.Tensor, torch.Tensor]:
        x = start.clone().requires_grad_(True)
        answer = network(x, torch.full((3,), model.timesteps - 1)).sample
        (gradient,) = torch.autograd.grad(answer.square().sum(), [x])
        return answer.detach(), gradient

    plain = ask()
    with frozen(network):
        quick = ask()
        assert any(not parameter.is_contiguous() for parameter in network.parameters())
    for one, other in zip(plain, quick, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()))
    assert torch.equal(ask()[0], plain[0])


def test_mode_gradients_and_memory_come_back_after_an_error() -> None:
    network = load_model(BUILTIN / "digits-tiny").unet.train()
    parameters = list(network.parameters())
    parameters[0].requires_grad_(False)
    places = [parameter.data_ptr() for parameter in parameters]
    with pytest.raises(RuntimeError, match="stop"), frozen(network):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in parameters)
        raise RuntimeError("stop")
    assert network.training
    assert all(module.training for module in network.modules())
    assert [parameter.requires_grad for parameter in parameters] == [False] + [True] * (len(parameters) - 1)
    assert [parameter.data_ptr() for parameter in parameters] == places
