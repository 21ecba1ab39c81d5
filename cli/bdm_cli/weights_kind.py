"""What weights are by the names of their tensors, where they are no network of diffusers by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SINGLE_FILE = "a single-file checkpoint"
EMBEDDING = (
    "a token embedding (textual inversion), not a model: lay it beside its pipeline as "
    "embeddings/learned_embeds.safetensors and import that folder"
)
LORA = (
    "a LoRA, changes to a model and no model: merge it into its base, or lay it beside that pipeline as "
    "lora/pytorch_lora_weights.safetensors and import that folder"
)
WHOLE = ("model.diffusion_model.",)
"""How names begin in single-file checkpoints of Stable Diffusion, for their UNet."""
LORA_PARTS = (".lora_up.", ".lora_down.", ".lora_A.", ".lora_B.", ".lora.up.", ".lora.down.", "_lora.up.", "lora_te")
ADDITIONS = {
    "control_model.": "a ControlNet, an addition to a model and no model: not supported",
    "hypernetwork": "a hypernetwork, an addition to a model and no model: not supported",
    "image_proj.": "an image prompt adapter, an addition to a model and no model: not supported",
}
EMBEDDINGS = ({"emb_params"}, {"clip_l", "clip_g"}, {"clip_l"}, {"clip_g"})
"""The names of all tensors in a file of embeddings."""
FILES = {
    ".gguf": "a file of quantised weights (GGUF), which are not supported",
    ".onnx": "an ONNX graph, which is not supported",
    ".h5": "a Keras file, which is not supported",
    ".msgpack": "a Flax file, which is not supported",
    ".pkl": "a pickle of unknown content",
}


def kind_of_file(path: Path) -> str | None:
    """What a file is by the ending of its name, where that is known."""
    return FILES.get(path.suffix.lower())


def kind_of_weights(names: Iterable[str]) -> str | None:
    """What weights are, in words; :data:`SINGLE_FILE` for a whole checkpoint; None for an ordinary network.

    >>> kind_of_weights(["model.diffusion_model.out.2.bias", "first_stage_model.quant_conv.bias"])
    'a single-file checkpoint'
    >>> kind_of_weights(["unet.down.0.lora_A.weight"]).partition(",")[0]
    'a LoRA'
    >>> kind_of_weights(["conv_in.weight"]) is None
    True
    """
    found = set(names)
    if any(name.startswith(WHOLE) for name in found):
        return SINGLE_FILE
    if any(part in name for name in found for part in LORA_PARTS):
        return LORA
    if found in EMBEDDINGS or (len(found) == 1 and min(found).startswith("<")):
        return EMBEDDING
    return next((words for start, words in ADDITIONS.items() if any(name.startswith(start) for name in found)), None)
