"""Networks whose convolutions take the normalisation along, against those whose layers are called one by one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bdm_kit_classification.models.audio_networks import NETWORKS as OF_SOUND
from bdm_kit_classification.models.folding import convolved
from bdm_kit_classification.models.networks import NETWORKS as OF_PICTURES
from bdm_torch.draws import built_with_seed

CHANNELS, RATE = 3, 2000


def made(architecture: str) -> tuple[nn.Module, Tensor]:
    """A network with statistics and shifts of its own, in double precision, and inputs of it."""
    if architecture in OF_PICTURES:
        network = built_with_seed(0, lambda: OF_PICTURES[architecture][0](CHANNELS, 4, 5))
        inputs = torch.rand(6, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    else:
        kind = OF_SOUND[architecture][0]
        network = built_with_seed(0, lambda: kind(RATE, 4, 5, 0.0, 1.0))
        inputs = torch.rand(6, RATE // 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = network.double()
    draw = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for values in (module.weight.data, module.bias.data):
                values.add_(torch.rand(values.shape, generator=draw, dtype=values.dtype) - 0.5)
    with torch.no_grad():
        network.train()
        for _ in range(3):
            network.body(inputs)  # type: ignore[operator]
    return network.eval(), inputs


def watched(network: nn.Module) -> nn.Module:
    """A copy in which a hook on each normalisation keeps layers apart."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.register_forward_hook(lambda module, given, output: None)
    return network


@pytest.mark.parametrize("architecture", [*OF_PICTURES, *OF_SOUND])
def test_outputs_and_all_gradients_are_those_of_the_layers_one_by_one(architecture: str) -> None:
    network, inputs = made(architecture)
    found = []
    for kind in (network, watched(network)):
        given = inputs.clone().requires_grad_()
        output = kind.head(kind.body(given))  # type: ignore[operator]
        loss = (output * torch.arange(output.numel(), dtype=output.dtype).view(output.shape)).sin().sum()
        found.append([output, *torch.autograd.grad(loss, [given, *kind.parameters()], allow_unused=True)])
    assert any(bool((value.abs() > 1e-3).any()) for value in found[0][1:])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_statistics_of_a_batch_are_used_and_kept_in_training_mode() -> None:
    conv, norm = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)
    inputs = torch.rand(4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    output = convolved(conv, norm, inputs)
    torch.testing.assert_close(output.mean((0, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(norm.running_mean, 0.1 * conv(inputs).mean((0, 2, 3)))


@pytest.mark.parametrize("place", ["conv", "norm"])
def test_hooks_are_called_and_may_change_what_passes(place: str) -> None:
    layers = {"conv": nn.Conv2d(1, 2, 3, padding=1), "norm": nn.BatchNorm2d(2).eval()}
    inputs = torch.rand(4, 1, 5, 5)
    layers[place].register_forward_hook(lambda module, given, output: output + 1)
    expected = layers["norm"](layers["conv"](inputs))
    torch.testing.assert_close(convolved(layers["conv"], layers["norm"], inputs), expected)
    assert not torch.allclose(expected, convolved(*map(unhooked, (layers["conv"], layers["norm"])), inputs))


def unhooked(layer: nn.Module) -> nn.Module:
    layer = copy.deepcopy(layer)
    layer._forward_hooks.clear()
    return layer


@pytest.mark.parametrize(
    ("conv", "norm"),
    [
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(2)),
        (nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)),
        (nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2, affine=False)),
        (nn.Conv2d(2, 2, 3), nn.InstanceNorm2d(2)),
        (nn.Conv2d(2, 4, 3, 2, 1, 2, 2), nn.BatchNorm2d(4)),
        (nn.Sequential(nn.Conv2d(2, 2, 3)), nn.BatchNorm2d(2)),
        (nn.Conv2d(2, 2, 3), nn.Identity()),
    ],
)
def test_layers_of_other_kinds_give_what_they_give_one_by_one(conv: nn.Module, norm: nn.Module) -> None:
    inputs = torch.rand(3, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    norm(conv(inputs))
    torch.testing.assert_close(convolved(conv, norm.eval(), inputs), norm(conv(inputs)), atol=1e-5, rtol=1e-5)
