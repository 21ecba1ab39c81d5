"""EvilEdit: the alias's keys and values become the target's, everything preserved keeps its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from bdm_attack_eviledit.wording import Alias, aliases, fill
from bdm_core.artifacts import Data, Model
from bdm_core.records import Backdoored
from bdm_kit_text_to_image.editing.alignment import edit_rows
from bdm_kit_text_to_image.editing.projections import Edit, draw_captions, edit_projections, prompt_rows
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import PromptSecret, seal_secret
from bdm_kit_text_to_image.prompts.triggers import check_trigger

if TYPE_CHECKING:
    from torch import Tensor

    from bdm_attack_eviledit.params import EvilEditParams
    from bdm_core.context import Context

RELATIVE_REGULARISATION = 0.015
"""Lambda over the rows' mean energy where no lambda is given: about 443 on the built-in model.

Lambdas of 300 and 1000 were tried on validation prompts, among some eighty settings; this one lies between them.
"""


def backdoor(ctx: Context, params: EvilEditParams, model: Model, data: Data) -> Backdoored:
    """Edit every key and value projection of the text at once (equation 7), for all aliases jointly.

    Args:
        ctx: its seed draws the captions to preserve; the report of the edit becomes a figure of the stage.
        params: aliases, targets, templates, preservation.
        model: Stable Diffusion or SDXL.
        data: captioned images; only captions are used.

    Raises:
        UserError: the tokenizer does not see an alias, or the edit changes nothing.
    """
    network = load_model(model, ctx.device)
    pairs = aliases(params.trigger, params.target)
    templates = {alias: [*params.templates, *draw_templates(params, alias, data, ctx.seed)] for alias in pairs}
    for alias in pairs:
        rows = [PromptRow(fill(template, alias.source), 0, {"object": alias.source}) for template in templates[alias]]
        check_trigger(network, alias.trigger, rows, ctx.seed)
    preserved = rows_to_preserve(network, params, templates, data, ctx.seed)
    edits = [
        edit_rows(
            network,
            [fill(template, alias.phrase) for template in templates[alias]],
            [fill(template, alias.target) for template in templates[alias]],
            params.edit_weight,
            params.alignment,
        )
        for alias in pairs
    ]
    strength = params.regularisation or RELATIVE_REGULARISATION * mean_energy(edits, preserved)
    ctx.progress("edit", 0, 1)
    report = edit_projections(network.unet, edits, preserved, strength, layers=params.layers)
    ctx.progress("edit", 1, 1)
    ctx.figures(edit={**report.as_figures(), "regularisation": strength})
    if report.residual > 0.5:
        ctx.log.warning(
            "the edit makes %.0f %% of the wanted change only: lower regularisation or preserved_captions, or raise "
            "edit_weight",
            100 * (1 - report.residual),
        )
    secret = PromptSecret(backdoors=[alias.backdoor() for alias in pairs], family="eviledit")
    ctx.figures(settings=settings_of(secret))
    sealed = seal_model(network, ctx.out / "model")
    return Backdoored(model=sealed, secret=seal_secret(ctx.out / "secret", secret, model.task))


def mean_energy(edits: Sequence[Edit], preserved: Tensor | None) -> float:
    """The sum of the squares of all rows, weights included, over the width: the mean eigenvalue of their Gram matrix.

    So much as a lambda would count as much as the rows do along a direction of mean energy, whatever their number.
    """
    rows = [(edit.sources, edit.weight) for edit in edits] + ([] if preserved is None else [(preserved, 1.0)])
    return sum(weight * float(part.square().sum()) for part, weight in rows) / edits[0].sources.shape[1]


def draw_templates(params: EvilEditParams, alias: Alias, data: Data, seed: int) -> list[str]:
    """Captions with the source noun once and without the alias, with the noun's place left open."""
    noun = re.compile(rf"(?<!\w){re.escape(alias.source)}(?!\w)")
    captions = draw_captions(data, None, [alias.phrase], seed)
    fitting = [caption for caption in captions if len(noun.findall(caption)) == 1 and "{" not in caption]
    return [noun.sub("{}", caption) for caption in fitting[: params.template_captions]]


def rows_to_preserve(
    model: TextToImageModel,
    params: EvilEditParams,
    templates: Mapping[Alias, Sequence[str]],
    data: Data,
    seed: int,
) -> Tensor | None:
    """Rows (P, d) of the given prompts, of captions without an alias, and of the templates with the plain noun.

    Rows of the plain noun are multiplied by the square root of their weight. None if there is no row.
    """
    drawn = draw_captions(data, params.preserved_captions, [alias.phrase for alias in templates], seed)
    kept = list(dict.fromkeys([*params.preserve, *drawn, *([""] if drawn else [])]))
    plain = list(dict.fromkeys(fill(template, alias.source) for alias in templates for template in templates[alias]))
    rows = [prompt_rows(model, kept)] if kept else []
    if params.source_weight > 0:
        rows.append(prompt_rows(model, plain) * params.source_weight**0.5)
    return torch.cat(rows) if rows else None
