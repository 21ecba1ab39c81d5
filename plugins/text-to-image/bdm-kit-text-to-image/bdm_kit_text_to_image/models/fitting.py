"""Whether the parts of a pipeline fit each other, found by their sizes and one small pass without any prompt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image.models.encoding import encode_nothing, predict
from bdm_kit_text_to_image.models.latents import decode_latents, encode_images
from bdm_torch.foreign_models import first_line, require_ids

if TYPE_CHECKING:
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel


LEAST_LENGTH = 3
"""Token positions of a prompt that says anything."""


def require_fitting_parts(model: TextToImageModel, folder: Path) -> None:
    """Refuse a pipeline whose parts were made for others, or whose noise schedule is of no use.

    Raises:
        ArtifactError: a tokenizer has more tokens than its text encoder, no room for a word or no padding, the UNet
            takes other text embeddings than the text encoders give, or the schedule is not finite, of another length
            than its timesteps, or holds no image at its last step although the network predicts the noise.
    """
    for tokenizer, encoder in zip(model.tokenizers, model.text_encoders, strict=True):
        require_ids(folder, tokenizer.get_vocab(), encoder.get_input_embeddings().num_embeddings)
        length = tokenizer.model_max_length
        if isinstance(length, bool) or not isinstance(length, int | float) or length < LEAST_LENGTH:
            raise ArtifactError(
                f"{folder}: its tokenizer has the model_max_length {str(length)[:40]!r}: expected a number from "
                f"{LEAST_LENGTH}, for start, a word and end"
            )
        if tokenizer.pad_token_id is None:
            raise ArtifactError(
                f"{folder}: its tokenizer names no pad_token, with which Stable Diffusion fills prompts"
            )
    given = sum(encoder.config.hidden_size for encoder in model.text_encoders)
    taken = model.unet.config.cross_attention_dim
    if ({taken} if isinstance(taken, int) else set(taken)) != {given}:
        raise ArtifactError(f"{folder}/unet takes text embeddings of width {taken}, the text encoders give {given}")
    abar = getattr(model.scheduler, "alphas_cumprod", None)
    if abar is None or len(abar) != model.timesteps:
        raise ArtifactError(f"{folder}/scheduler has no noise level for each of its {model.timesteps} timesteps")
    last_is_noise = model.scheduler.config.get("prediction_type", "epsilon") != "epsilon"
    least = float(abar[-1]) if last_is_noise else float(abar.min())
    if not (bool(abar.isfinite().all()) and float(abar.max()) < 1 and least >= 0 and (last_is_noise or least > 0)):
        raise ArtifactError(f"{folder}/scheduler describes no noise schedule: its levels must be within 0 and 1")


EDGE = 8
"""Height and width of the latent that a pipeline is tried out with."""


def try_out(model: TextToImageModel, folder: Path) -> None:
    """One small pass through all networks; what fails or is not finite here would fail in every later stage.

    Raises:
        ArtifactError: so it is.
    """
    latents = torch.randn(1, model.latent_shape[0], EDGE, EDGE, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            answer = predict(model.unet, latents, torch.tensor([model.timesteps // 2]), encode_nothing(model, 1))
            images = decode_latents(model, latents)
            again = encode_images(model, images)
    except Exception as error:  # an odd configuration leads to errors of all kinds
        raise ArtifactError(f"{folder} cannot be opened as a {model.pipeline}: {first_line(error)}") from None
    if answer.shape != latents.shape or again.shape != latents.shape:
        raise ArtifactError(f"{folder}: a latent of shape {tuple(latents.shape)} becomes {tuple(again.shape)}")
    if not all(bool(part.isfinite().all()) for part in (answer, images, again)):
        raise ArtifactError(f"{folder}: what its networks compute from noise is not finite")
