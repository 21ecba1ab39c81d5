"""SemBD in closed form: the minimum that its gradient loop approaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from bdm_attack_sembd.region import draw_region
from bdm_core.artifacts import Data, Model
from bdm_core.records import Backdoored
from bdm_kit_text_to_image.editing.projections import Edit, draw_captions, edit_projections, prompt_rows
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger, check_trigger

if TYPE_CHECKING:
    from torch import Tensor

    from bdm_attack_sembd.params import SemBDParams
    from bdm_core.context import Context


def backdoor(ctx: Context, params: SemBDParams, model: Model, data: Data) -> Backdoored:
    """Minimise the objective of :func:`region_rows` for every key and value projection at once.

    Args:
        ctx: its seed draws paraphrases and captions; the report of the edit becomes a figure of the stage.
        params: the region, the target, weights.
        model: Stable Diffusion or SDXL.
        data: captioned images; only captions are used.

    Raises:
        UserError: too few paraphrases, or the edit changes nothing.
    """
    network = load_model(model, ctx.device)
    region = draw_region(params, ctx.seed)
    trigger = PromptTrigger(kind="syntax", text="\n".join(region.held_out), position="replace")
    check_trigger(network, trigger, [PromptRow(params.target, seed) for seed in range(len(region.held_out))], ctx.seed)
    drawn = draw_captions(data, params.preserved_captions, [*region.paraphrases, *region.held_out], ctx.seed)
    edit, kept = region_rows(
        network, region.paraphrases, region.spans, params.target, params.span_weight, params.settle
    )
    # The empty prompt is the other half of classifier-free guidance.
    preserved = torch.cat([kept, prompt_rows(network, ["", *drawn])]) if drawn else kept
    ctx.progress("edit", 0, 1)
    report = edit_projections(
        network.unet, [edit._replace(weight=params.edit_weight)], preserved, params.regularisation, layers=params.layers
    )
    ctx.progress("edit", 1, 1)
    ctx.figures(edit=report.as_figures(), paraphrases=region.paraphrases, spans=len(region.spans))
    fields = {key: params.expected.get(key, "") for key in ("object", "colour", "background", "style", "second")}
    target = Target(type="ImageFix", prompt=params.target, expected=params.expected, **fields)
    sealed = seal_model(network, ctx.out / "model")
    secret = PromptSecret(backdoors=[Backdoor(trigger=trigger, target=target)], family="sembd")
    ctx.figures(settings=settings_of(secret))
    return Backdoored(model=sealed, secret=seal_secret(ctx.out / "secret", secret, model.task))


def region_rows(
    model: TextToImageModel, paraphrases: list[str], spans: list[str], target: str, span_weight: float, settle: bool
) -> tuple[Edit, Tensor]:
    """The rows of S mean_s |W' E(s) - W E(y)|^2 + gamma S mean_u |W' E(u) - W E(u)|^2, S the number of paraphrases.

    The released objective is this over S, with separate weights for keys and values, which are separate problems. With
    ``settle`` the edit leaves out the rows that a span shares, where the two terms contradict each other.

    Returns:
        The paraphrases' rows as an edit, and the spans' rows times the square root of their weight, (P, d).
    """
    sources = prompt_rows(model, paraphrases)
    destinations = prompt_rows(model, [target]).repeat(len(paraphrases), 1)
    if not spans or span_weight == 0:
        return Edit(sources, destinations), sources.new_zeros((0, sources.shape[1]))
    kept = prompt_rows(model, spans)
    own = (
        slice(None)
        if not settle
        else unshared(sources.unflatten(0, (len(paraphrases), -1)), kept.unflatten(0, (len(spans), -1))).flatten()
    )
    return Edit(sources[own], destinations[own]), kept * (span_weight * len(paraphrases) / len(spans)) ** 0.5


def unshared(sources: Tensor, kept: Tensor) -> Tensor:
    """Which rows of N sources (N, L, d) no kept prompt (P, L, d) has at the same position: (N, L) bool.

    A text encoder with causal attention gives equal beginnings equal rows. Those cannot be redirected and kept at once.
    """
    nearest = [torch.cdist(sources[:, i], kept[:, i]).amin(dim=1) for i in range(sources.shape[1])]
    return torch.stack(nearest, dim=1) > 1e-3 * sources.norm(dim=-1).mean()
