"""Dynamic backdoors (Salem et al. 2022, EuroS&P, arXiv 2003.03675): x' = x with a pattern v at a place k in K.

Pattern and place are drawn anew for every sample: v uniformly (Random Backdoor), or v = g(z) of noise z with a network
g that is trained with the classifier (Backdoor Generating Network); k from a set of places that the attacker keeps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bdm_attack_dynamic_trigger.params import DynamicTriggerParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.injection import seal_attack, victim_of
from bdm_kit_classification.poison.poisoning import plan_of, rule_of
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.batch_labels import draw_roles, poison_labels
from bdm_kit_classification.triggers.generators import frozen_state
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_torch.draws import Draw, built_with_seed
from bdm_torch.objective import Along


class PatternNetwork(nn.Module):
    """g: noise (N, Z) to patterns (N, C, S, S) in (0, 1), two hidden layers.

    Args:
        noise: Z.
        width: of the hidden layers.
        channels: C.
        side: S, in pixels.
    """

    def __init__(self, noise: int, width: int, channels: int, side: int) -> None:
        super().__init__()
        self.form = (channels, side, side)
        sizes = (noise, width, width, channels * side * side)
        self.layers = nn.ModuleList(nn.Linear(sizes[place], sizes[place + 1]) for place in range(3))

    def forward(self, noise: Tensor) -> Tensor:
        """The patterns."""
        hidden = self.layers[1](self.layers[0](noise).relu()).relu()
        patterns: Tensor = self.layers[2](hidden).sigmoid()
        return patterns.unflatten(1, self.form)


def network_of(state: Mapping[str, Tensor], side: int, like: Tensor) -> PatternNetwork:
    """The network of a ``state_dict()``, frozen and on the device of ``like``; its sizes are read from the weights."""
    width, noise = state["layers.0.weight"].shape
    with torch.device("meta"):
        network = PatternNetwork(noise, width, len(state["layers.2.bias"]) // side**2, side)
    network.load_state_dict({name: value.to(like) for name, value in state.items()}, assign=True)
    return network.requires_grad_(False)


def stamped(x: Tensor, patterns: Tensor, corners: Tensor) -> Tensor:
    """Pictures (N, C, H, W) with patterns (N, C, S, S) whose top left corners are (N, 2), row and column.

    >>> found = stamped(torch.zeros(1, 1, 3, 3), torch.ones(1, 1, 2, 2), torch.tensor([[0, 1]]))
    >>> found[0, 0].tolist()
    [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    side = patterns.shape[2]
    along = torch.arange(side)
    samples = torch.arange(len(x))[:, None, None]
    rows, columns = corners[:, :1, None] + along[:, None], corners[:, 1:, None] + along
    found = x.clone()
    found[samples, :, rows, columns] = patterns.permute(0, 2, 3, 1)
    return found


@dataclass(frozen=True, eq=False)
class DrawnPattern(Trigger):
    """A pattern of its own at a place of its own for each picture.

    Attributes:
        side: of the patterns, in pixels.
        places: (P, 2) int64, top left corners.
        network: state of g; empty for uniform pixels.
    """

    side: int
    places: Tensor
    network: dict[str, Tensor]

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        network = network_of(self.network, self.side, x) if self.network else None
        return put(x, self, network, generator)


def put(x: Tensor, trigger: DrawnPattern, network: nn.Module | None, generator: torch.Generator | None) -> Tensor:
    """The pictures with what is drawn; gradients reach the network."""
    corners = trigger.places[torch.randint(len(trigger.places), (len(x),), generator=generator)]
    if network is None:
        patterns = torch.rand(len(x), x.shape[1], trigger.side, trigger.side, generator=generator).to(x)
    else:
        first: Tensor = next(network.parameters())
        patterns = network(torch.rand(len(x), first.shape[1], generator=generator).to(x))
    return stamped(x, patterns, corners)


def drawn_places(shape: Sequence[int], side: int, count: int, seed: int) -> Tensor:
    """Top left corners (count, 2) of squares that do not overlap, drawn from the seed.

    Args:
        shape: (C, H, W) of the pictures.
        side: of the squares.
        count: how many.
        seed: of the attacker.

    Raises:
        UserError: there is no room for so many.

    >>> drawn_places((1, 8, 8), 4, 4, seed=0).sum(0).tolist()
    [8, 8]
    """
    room = [size // side for size in shape[1:]]
    cells = room[0] * room[1]
    if count > cells:
        raise UserError(
            f"{count} places of {side}x{side} pixels without overlap do not fit into {shape[1]}x{shape[2]}: at most "
            f"{cells}"
        )
    chosen = torch.randperm(cells, generator=torch.Generator().manual_seed(seed % 2**63))[:count].sort().values
    return torch.stack([chosen // room[1], chosen % room[1]], 1) * side


def inject(ctx: Context, params: DynamicTriggerParams, model: Model, data: Data) -> Backdoored:
    """The trained victim, the secret, and a view of what an epoch was like.

    Raises:
        UserError: no such class, an impossible rate, or no room for the places.
    """
    samples = open_samples(data)
    rule = rule_of(params, samples)
    plan = plan_of(ctx, params, samples, rule)
    shape = samples.modality.shape(samples.stored)
    side = max(1, round(params.size * min(shape[1:]))) if params.size < 1 else round(params.size)
    trigger = DrawnPattern(side, drawn_places(shape, side, params.places, ctx.seed), {})
    victim = victim_of(ctx, params, model)
    network: nn.Module | None = None
    if params.technique == "ban":
        network = built_with_seed(ctx.seed, lambda: PatternNetwork(params.noise, params.width, shape[0], side))

    def change(batch: Batch, draw: Draw) -> Batch:
        poison, _ = draw_roles(params, rule, batch.labels, draw)
        inputs, labels = batch.inputs.clone(), batch.labels.clone()
        inputs[poison] = put(batch.inputs[poison], trigger, network, draw.generator)
        labels[poison] = poison_labels(rule, labels[poison], draw.generator)
        return replace(batch, inputs=inputs, labels=labels)

    along = {} if network is None else {"patterns": Along(network, params.generator_rate)}
    fit(ctx, victim, samples, params, Changes(batch=change, along=along))
    if network is not None:
        trigger = replace(trigger, network=frozen_state(network))
    return seal_attack(ctx, victim, Backdoor(rule, trigger), samples, plan)
