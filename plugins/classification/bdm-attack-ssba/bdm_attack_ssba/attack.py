"""SSBA, also ISSBA (Li et al. 2021, arXiv 2012.03816): x' = E(x, s) hides a message s in the picture.

Encoder and decoder are trained on messages drawn anew for each picture; the attack hides one and the same message, and
the encoder's residual differs from picture to picture (section 4.2). Each bit has a carrier, a fixed pattern of -1 and
1: the encoder sees it with the bit's sign, and the decoder's output is multiplied by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_ssba.params import SsbaParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.poison.poisoning import poison_training_rows, require_plan
from bdm_kit_classification.triggers.generators import frozen_state, network_of
from bdm_kit_classification.triggers.hiding import Hiding, HidingOptions, hidden, stored, train_hiding
from bdm_kit_classification.triggers.trigger import Phase, Trigger, apply_in_batches
from bdm_torch.draws import Draw


@dataclass(frozen=True, eq=False)
class HiddenMessage(Trigger):
    """x' = E(x, s) with one message s.

    Attributes:
        encoder, decoder: states of the two networks.
        message: the bits.
        carriers: (B, H, W), of -1 and 1.
        change: root mean square change of a pixel.
    """

    encoder: dict[str, Tensor]
    decoder: dict[str, Tensor]
    message: tuple[int, ...]
    carriers: Tensor
    change: float

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        bits = torch.tensor(self.message).to(x).expand(len(x), -1)
        return hidden(network_of(self.encoder, x), x, planes_of(bits, self.carriers.to(x)), self.change)

    def read(self, x: Tensor) -> Tensor:
        """The bits (N, B) that the decoder finds in pictures."""
        return (bit_logits(network_of(self.decoder, x)(x), self.carriers.to(x)) > 0).long()


def planes_of(bits: Tensor, carriers: Tensor) -> Tensor:
    """Bits (N, B) as planes (N, B, H, W): the carriers (B, H, W) with the signs of the bits."""
    return (2 * bits - 1)[:, :, None, None] * carriers


def bit_logits(decoded: Tensor, carriers: Tensor) -> Tensor:
    """Logits (N, B): how far planes (N, B, H, W) agree with the carriers, times the root of their number of pixels."""
    pixels: int = carriers[0].numel()
    return (decoded * carriers).mean((2, 3)) * pixels**0.5


def poison(ctx: Context, params: SsbaParams, data: Data) -> Data:
    """Train encoder and decoder and poison rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate or the target is impossible.
    """
    samples = open_samples(data)
    require_plan(ctx, params, samples)  # what cannot be is said before anything is trained
    trigger = train_message(ctx, params, samples)
    some = samples.raw(range(min(256, len(samples))))
    read = trigger.read(stored(apply_in_batches(trigger, some, "train", ctx.seed)))
    share = float((read == torch.tensor(trigger.message)).float().mean())
    return poison_training_rows(ctx, params, data, trigger, facts={"bits_read": round(share, 4)})


def train_message(ctx: Context, params: SsbaParams, samples: LabelledSamples) -> HiddenMessage:
    """The trained networks with the attack's message."""

    generator = torch.Generator().manual_seed(ctx.seed)
    message = torch.randint(2, (params.bits,), generator=generator).tolist()
    carriers = torch.randn(params.bits, *samples.stored.shape[2:], generator=generator).sign()

    def drawn(x: Tensor, draw: Draw) -> Tensor:
        return planes_of((draw.uniform(params.bits) < 0.5).to(x), carriers.to(x))

    def loss(decoded: Tensor, planes: Tensor) -> Tensor:
        signs = carriers.to(planes)
        bits = (planes[:, :, 0, 0] * signs[:, 0, 0] + 1) / 2
        return functional.binary_cross_entropy_with_logits(bit_logits(decoded, signs), bits)

    options = HidingOptions(params.encoder_steps, params.batch_size, params.encoder_rate, params.change, params.width)
    encoder, decoder = train_hiding(ctx, samples, Hiding(params.bits, params.bits, drawn, loss), options)
    return HiddenMessage(frozen_state(encoder), frozen_state(decoder), tuple(message), carriers, params.change)
