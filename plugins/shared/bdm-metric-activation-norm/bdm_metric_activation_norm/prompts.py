"""Text-to-image models: pairs of prompts from the same initial noise, sampled by deterministic DDIM."""

from __future__ import annotations

from collections import deque

from torch import nn

from bdm_core.context import Context
from bdm_core.records import Subject
from bdm_metric_activation_norm.norms import Looked
from bdm_metric_activation_norm.params import ActivationNormParams

STEPS = 20


def looked_at(ctx: Context, params: ActivationNormParams, subject: Subject) -> Looked | None:
    """The UNet or the text encoder; None for a row that is left out."""
    from bdm_kit_text_to_image.analysis.pairs import examine
    from bdm_kit_text_to_image.models.encoding import encode_prompts
    from bdm_kit_text_to_image.recording.chain import ChainOptions, walk

    pairs = examine(ctx, subject, params.samples)
    if pairs is None:
        return None
    model, prompts, starts, steps = pairs.model, pairs.prompts, pairs.starts(), params.steps or STEPS
    kind = "ffn" if params.modules == "auto" else params.modules
    if kind == "text-mlp":

        def read(side: str, rows: slice) -> None:
            encode_prompts(model, prompts[side][rows])

        return Looked(model.text_encoders[0], read, len(pairs.rows), 1, is_second_layer, inputs=True, guided=False)

    def sample(side: str, rows: slice) -> None:
        size = rows.stop - rows.start
        options = ChainOptions(steps=steps, guidance=params.guidance, batch_size=size)
        deque(walk(model, prompts[side][rows], 0, options, starts[side][rows]), maxlen=0)

    select = {"ffn": is_gated, "ffn-input": is_gated, "key-value-input": is_key_or_value, "conv": is_convolution}[kind]
    guided = params.guidance != 1
    return Looked(model.unet, sample, len(pairs.rows), steps, select, kind.endswith("-input"), guided)


def is_gated(name: str, module: nn.Module) -> bool:
    """A gated feed-forward layer, which gives value times GELU of its gate."""
    from diffusers.models.activations import GEGLU

    return isinstance(module, GEGLU)


def is_key_or_value(name: str, module: nn.Module) -> bool:
    """A key or value projection of cross-attention."""
    return name.endswith(("attn2.to_k", "attn2.to_v"))


def is_second_layer(name: str, module: nn.Module) -> bool:
    """The second layer of a text encoder's feed-forward network; it gets the hidden units."""
    return name.endswith("mlp.fc2")


def is_convolution(name: str, module: nn.Module) -> bool:
    """A convolution."""
    return isinstance(module, nn.Conv2d)
