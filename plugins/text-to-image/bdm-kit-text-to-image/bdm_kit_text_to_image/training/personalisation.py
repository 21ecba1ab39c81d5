"""Personalisation: textual inversion, DreamBooth with prior preservation, LoRA.

Sources: Gal et al., 2208.01618, equation 2 (textual inversion); Ruiz et al., 2208.12242, equation 2 (DreamBooth);
Hu et al., 2106.09685 (LoRA).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.encoding import Conditioning, add_noise, encode_prompts, predict, training_target
from bdm_kit_text_to_image.training.distillation import UNetTerm, train_module
from bdm_torch.draws import Draw
from bdm_torch.training import TrainingOptions, TrainingResult

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

ATTENTION_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")
"""The layers that LoRA adapts: all projections of every attention of the UNet, as in diffusers' training scripts."""


def preservation_terms(
    instances: tuple[Tensor, Sequence[str]], prior: tuple[Tensor, Sequence[str]] | None, prior_weight: float
) -> list[UNetTerm]:
    """||M(z_t, t, c) - target||^2 of the instances plus ``prior_weight`` times that of the prior (DreamBooth, eq. 2).

    For :func:`bdm_kit_text_to_image.training.distillation.distill_unet`; a step takes as many prior examples as
    instances.

    Args:
        instances: latents (N, C, h, w) and N captions of what is to be learnt.
        prior: the same of what is to be preserved; None for nothing.
        prior_weight: at least 0.

    >>> instances, prior = (torch.zeros(2, 4, 8, 8), ["a sks star"] * 2), (torch.zeros(3, 4, 8, 8), ["a star"] * 3)
    >>> [(len(term.student), term.weight) for term in preservation_terms(instances, prior, 0.5)]
    [(2, 1.0), (3, 0.5)]
    """
    terms = [UNetTerm(instances[0], list(instances[1]))]
    if prior is not None and prior_weight > 0:
        terms.append(UNetTerm(prior[0], list(prior[1]), weight=prior_weight))
    return terms


def drop_captions(captions: Sequence[str], share: float, seed: int) -> list[str]:
    """The captions, a random share of them empty: so that the UNet also keeps what guidance compares with.

    >>> drop_captions(["a star", "a circle"], share=1.0, seed=0)
    ['', '']
    """
    drawn = torch.rand(len(captions), generator=torch.Generator().manual_seed(seed % 2**63)).tolist()
    return ["" if number < share else caption for number, caption in zip(drawn, captions, strict=True)]


class TokenRow(nn.Module):
    """One new row of the token embedding of each frozen text encoder, the only parameters.

    Its forward pass encodes prompts with those rows in place of the new token's.

    Args:
        model: its tokenizers and text encoders are copied, never changed.
        placeholder: the new token, e.g. ``<v>``; spaces may be part of it.
        initializer: a row starts as the mean of the rows of this text's tokens.

    Raises:
        UserError: a tokenizer has that token already.
    """

    def __init__(self, model: TextToImageModel, placeholder: str, initializer: str) -> None:
        super().__init__()
        self.rows = nn.ParameterList()
        tokenizers, encoders = copy.deepcopy(model.tokenizers), copy.deepcopy(model.text_encoders)
        for number, (tokenizer, encoder) in enumerate(zip(tokenizers, encoders, strict=True)):
            if placeholder in tokenizer.get_vocab():
                raise UserError(f"the tokenizer has a token {placeholder!r} already: choose another placeholder")
            tokenizer.add_tokens(placeholder)
            start = tokenizer(initializer, add_special_tokens=False).input_ids or [tokenizer.eos_token_id]
            self.rows.append(encoder.get_input_embeddings().weight[start].detach().mean(0).float().clone())
            encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            token = int(tokenizer.convert_tokens_to_ids(placeholder))
            encoder.get_input_embeddings().register_forward_hook(partial(self._put_in, number, token))
            encoder.requires_grad_(False).eval()
        self._model = [replace(model, tokenizers=tokenizers, text_encoders=encoders)]  # a list hides it from Module

    def _put_in(self, number: int, token: int, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return torch.where((inputs[0] == token)[..., None], self.rows[number].to(output), output)

    @property
    def row(self) -> Tensor:
        """The rows of all encoders one after the other, (d,), on the CPU."""
        return torch.cat([row.detach().cpu() for row in self.rows])

    def forward(self, prompts: Sequence[str]) -> Conditioning:
        """The text embeddings of N prompts, with gradients to the rows."""
        return encode_prompts(self._model[0], prompts)


@dataclass(frozen=True)
class LearntToken:
    """A token that was learnt: its text, its row as ``seal_model`` takes it, and how the training went."""

    token: str
    row: Tensor
    result: TrainingResult = field(repr=False)


def invert(
    ctx: Context,
    model: TextToImageModel,
    latents: Tensor,
    prompts: Sequence[str],
    placeholder: str,
    initializer: str,
    options: TrainingOptions,
) -> LearntToken:
    """Textual inversion: argmin over a row v of E ||M(z_t, t, E_v(prompt)) - target||^2 (2208.01618, eq. 2).

    Args:
        ctx: of the stage: seed, device, checkpoints, progress, and the kit's mixed precision.
        model: stays as it is, on ``ctx.device``.
        latents: (N, C, h, w) of the images to learn from.
        prompts: texts with the placeholder: one for each image, or templates of which every sample draws one.
        placeholder, initializer: see :class:`TokenRow`.
        options: of the training; weight decay and moving average are for weights, better leave them out.

    Raises:
        UserError: see :class:`TokenRow`; or a prompt does not hold the placeholder, or there is none.

    >>> from pathlib import Path
    >>> from bdm_core import Context
    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> ctx, model = Context(out=Path("out"), work=Path("work"), seed=0), tiny_model()
    >>> options = TrainingOptions(steps=2, batch_size=2)
    >>> learnt = invert(ctx, model, torch.zeros(2, 4, 8, 8), ["a photo of a <v>"], "<v>", "star", options)
    >>> learnt.token, learnt.row.shape, len(learnt.result.losses)
    ('<v>', torch.Size([16]), 2)
    """
    bare = [prompt for prompt in prompts if placeholder not in prompt]
    if bare or not prompts:
        raise UserError(f"prompt {bare[0] if bare else ''!r} does not hold the placeholder {placeholder!r}")
    learner = TokenRow(model, placeholder, initializer)
    paired = len(prompts) == len(latents)

    def loss(embedding: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(latents))
        z = latents[rows.to(latents.device)].to(draw.device)
        t, noise = draw.timesteps(len(model.scheduler.alphas_cumprod)), draw.normal(*z.shape[1:])
        chosen = rows if paired else (draw.uniform() * len(prompts)).long().clamp_(max=len(prompts) - 1).cpu()
        condition = embedding([prompts[row] for row in chosen.tolist()])
        output = predict(model.unet, add_noise(model.scheduler, z, noise, t), t, condition)
        return (output.float() - training_target(model.scheduler, z, noise, t)).square().mean()

    result = train_module(ctx, learner, loss, options, "token")
    return LearntToken(placeholder, learner.row, result)


def add_lora(unet: Any, rank: int, *, seed: int, layers: Sequence[str] = ATTENTION_PROJECTIONS) -> int:
    """Put LoRA adapters, W + B A with B = 0, into a UNet; only they require gradients then.

    Scale alpha / rank is 1, so that the file that :func:`lora_weights` fills needs no further facts.

    Args:
        unet: a UNet2DConditionModel, changed in place.
        rank: rows of A.
        seed: of A, Gaussian with deviation 1 / rank.
        layers: endings of the names of the linear layers to adapt.

    Returns:
        How many layers were adapted.

    Raises:
        UserError: no layer has such a name.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> unet = tiny_model().unet
    >>> add_lora(unet, rank=2, seed=0), add_lora(tiny_model().unet, rank=2, seed=0, layers=["attn2.to_k"])
    (32, 4)
    >>> all("lora" in name for name, weights in unet.named_parameters() if weights.requires_grad)
    True
    """
    from peft import LoraConfig

    config = LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(layers))
    unet.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        try:
            unet.add_adapter(config)
        except ValueError as error:
            raise UserError(f"the UNet has no layer to adapt among {', '.join(layers)}: {error}") from None
    return sum(name.endswith("lora_A.default.weight") for name, _ in unet.named_parameters())


def lora_weights(unet: Any) -> dict[str, Tensor]:
    """The adapters of a UNet as diffusers' ``load_lora_weights`` reads them: ``unet.<layer>.lora_A.weight``.

    Args:
        unet: one that :func:`add_lora` changed.

    Returns:
        A (rank, inputs) and B (outputs, rank) of each adapted layer, on the CPU.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> unet = tiny_model().unet
    >>> count = add_lora(unet, rank=2, seed=0)
    >>> len(lora_weights(unet)) == 2 * count, {len(a) for name, a in lora_weights(unet).items() if "lora_A" in name}
    (True, {2})
    """
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(unet)
    return {f"unet.{name}": value.detach().cpu().clone() for name, value in state.items()}


def lora_modules(unet: Any) -> list[nn.Module]:
    """The adapters' matrices, the only parts to train; none without :func:`add_lora`.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> unet = tiny_model().unet
    >>> count = add_lora(unet, rank=2, seed=0)
    >>> len(lora_modules(unet)) == 2 * count
    True
    """
    return [part for name, part in unet.named_modules() if name.endswith((".lora_A", ".lora_B"))]


def remove_lora(unet: Any) -> None:
    """Take the adapters out again; the UNet is as it was before :func:`add_lora`.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> unet = tiny_model().unet
    >>> _ = add_lora(unet, rank=2, seed=0)
    >>> remove_lora(unet)
    >>> lora_modules(unet), unet.state_dict().keys() == tiny_model().unet.state_dict().keys()
    ([], True)
    """
    unet.unload_lora()
