"""Closed-form editor of the key and value projections of cross-attention.

The new projection W' of each W minimises (EvilEdit, ACM MM 2024, section 4; UCE, 2308.14761, equation 7)

    sum_i w_i |W' s_i - W d_i|^2 + sum_j |W' p_j - W p_j|^2 + lambda |W' - W|^2

over rows s_i (sources), d_i (destinations) and p_j (preserved). Its solution is W' = W + W D with

    D = sum_i w_i (d_i - s_i) s_i^T A^-1,   A = lambda I + sum_i w_i s_i s_i^T + sum_j p_j p_j^T,

so that A is factorised once for all layers and both projections, and no W takes part in the solve.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from bdm_core.errors import UserError
from bdm_kit_text_to_image.attention.cross_attention import cross_attention_layers

if TYPE_CHECKING:
    from bdm_core.artifacts import Data
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

PROJECTIONS = {"key": "to_k", "value": "to_v"}
BLOCK = 160
"""Rows of a weight that are edited at once."""


class Edit(NamedTuple):
    """Rows that shall be treated like other rows.

    Attributes:
        sources: (M, d) text embeddings, one row a token position.
        destinations: (M, d): what they shall be projected to.
        weight: of these rows against the preserved ones, above 0.
    """

    sources: Tensor
    destinations: Tensor
    weight: float = 1.0


@dataclass(frozen=True)
class EditReport:
    """What an edit did.

    Attributes:
        edited: number of projections changed.
        width: d, the width of the text embeddings.
        rank: numerical rank of all rows; at ``width`` no direction is left that neither edits nor preserves.
        effective_rank: number of directions that carry 99 % of the rows' energy.
        residual: what is missing of the wanted changes W (d_i - s_i): root mean square, 0 all made, 1 none.
        leak: root mean square change of a preserved row over that of a wanted change; 0 if nothing is preserved.
        change: Frobenius norm of all weight changes over that of the weights.
    """

    edited: int
    width: int
    rank: int
    effective_rank: int
    residual: float
    leak: float
    change: float

    def as_figures(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)


@torch.no_grad()
def edit_projections(
    unet: nn.Module,
    edits: Sequence[Edit | tuple[Tensor, Tensor] | tuple[Tensor, Tensor, float]],
    preserved: Tensor | None = None,
    regularisation: float = 1.0,
    *,
    layers: str = "*",
    projections: Sequence[str] = ("key", "value"),
) -> EditReport:
    """Edit the projections of a network in place; solved in float64 with one Cholesky factorisation for all.

    Args:
        unet: a ``UNet2DConditionModel``.
        edits: rows to redirect.
        preserved: (P, d) rows whose projections shall stay; None for none.
        regularisation: lambda, above 0.
        layers: a pattern that the names of the layers must match, e.g. ``up_blocks.*``.
        projections: ``key``, ``value`` or both.

    Returns:
        The report.

    Raises:
        UserError: no layer matches, the edits change nothing, widths differ, or the system cannot be solved.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> edit = Edit(prompt_rows(model, ["shiny star"]), prompt_rows(model, ["circle"]))
    >>> report = edit_projections(model.unet, [edit], prompt_rows(model, ["a photo"]))
    >>> report.edited, report.width, 0 <= report.residual < 1
    (8, 16, True)
    """
    chosen = find_projections(unet, layers, projections)
    width = chosen[0].in_features
    device = chosen[0].weight.device
    device = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    sources, destinations, weights = _stack([Edit(*edit) for edit in edits], width, device)
    kept = _rows(preserved, width, device) if preserved is not None else sources.new_zeros((0, width))
    if not regularisation > 0:
        raise UserError(f"regularisation must be above 0, not {regularisation:g}")
    wanted = destinations - sources
    if not bool(wanted.any()):
        raise UserError("the edit changes nothing: its sources and destinations have the same text embeddings")

    rows = torch.cat([sources * weights.sqrt()[:, None], kept])
    kept_gram, gram = kept.T @ kept, rows.T @ rows
    factor, failed = torch.linalg.cholesky_ex(gram + regularisation * torch.eye(width, dtype=gram.dtype, device=device))
    if int(failed):
        raise UserError(f"the edit cannot be solved with regularisation {regularisation:g}: raise it")
    energies = torch.linalg.eigvalsh(gram if len(rows) >= width else rows @ rows.T).flip(0).clamp(min=0)
    shares = energies.cumsum(0) / energies.sum()

    moved = wanted.any(dim=1)
    wanted, sources, weights = wanted[moved], sources[moved], weights[moved]
    right = torch.cholesky_solve((weights[:, None] * sources).T, factor).T
    left, coordinates = wanted.T, torch.eye(len(wanted), dtype=gram.dtype, device=device)
    if 2 * len(wanted) >= width:  # D is not of low rank: no factors
        left, right, coordinates = torch.eye(width, dtype=gram.dtype, device=device), wanted.T @ right, wanted.T
    image_gram, total = _apply(chosen, left, right)

    goal = _energy(image_gram, coordinates)
    missing = _energy(image_gram, right @ sources.T - coordinates)
    leaked = float(torch.trace(image_gram @ right @ kept_gram @ right.T)) / max(1, len(kept))
    return EditReport(
        edited=len(chosen),
        width=width,
        rank=int((energies > energies[0] * width * torch.finfo(gram.dtype).eps).sum()),
        effective_rank=int((shares < 0.99).sum()) + 1,
        residual=(missing / goal) ** 0.5 if goal > 0 else 1.0,
        leak=(max(0.0, leaked) / (goal / len(wanted))) ** 0.5 if goal > 0 else 0.0,
        change=(_energy(image_gram, right) / total) ** 0.5 if total > 0 else 0.0,
    )


def _apply(chosen: Sequence[nn.Linear], left: Tensor, right: Tensor) -> tuple[Tensor, float]:
    """Add W D with D = left @ right to every W; return the sum of (W left)^T (W left) and of |W|^2.

    A block of rows at a time, in work space that stays in the cache: the products take less time than moving weights.
    """
    width, rank = left.shape
    weights, changes = left.new_empty((2, BLOCK, width))
    images, image_gram, total = left.new_empty((BLOCK, rank)), left.new_zeros((rank, rank)), 0.0
    for linear in chosen:
        for block in linear.weight.split(BLOCK):
            weight, change, image = weights[: len(block)], changes[: len(block)], images[: len(block)]
            weight.copy_(block)
            torch.mm(weight, left, out=image)
            torch.mm(image, right, out=change)
            image_gram.addmm_(image.T, image)
            total += float(torch.linalg.vector_norm(weight)) ** 2
            block.copy_(weight.add_(change))
    return image_gram, total


def find_projections(
    unet: nn.Module, layers: str = "*", projections: Sequence[str] = ("key", "value")
) -> list[nn.Linear]:
    """The projections of the text in the cross-attention layers whose names match a pattern.

    Raises:
        UserError: there is none, or they take texts of different widths.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> len(find_projections(tiny_model().unet)), len(find_projections(tiny_model().unet, projections=["key"]))
    (8, 4)
    """
    unknown = [name for name in projections if name not in PROJECTIONS]
    if unknown or not projections:
        raise UserError(f"projections {list(projections)} are unknown: choose key, value or both")
    named = cross_attention_layers(unet)
    found = [
        getattr(layer, PROJECTIONS[projection])
        for name, layer in named.items()
        if fnmatch(name, layers)
        for projection in projections
    ]
    found = [getattr(linear, "base_layer", linear) for linear in found]
    if not found:
        raise UserError(f"no cross-attention layer matches {layers!r}, nothing is edited: there are {', '.join(named)}")
    if len({linear.in_features for linear in found}) > 1:
        raise UserError(f"the layers that match {layers!r} take texts of different widths: choose fewer")
    return found


@torch.no_grad()
def prompt_rows(model: TextToImageModel, prompts: Sequence[str]) -> Tensor:
    """Text embeddings of prompts as rows for the editor: (N * tokens, d) in float64, padding included.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> prompt_rows(tiny_model(), ["a star", "a circle"]).shape
    torch.Size([154, 16])
    """
    from bdm_kit_text_to_image.models.encoding import encode_prompts

    return encode_prompts(model, list(prompts)).embeddings.flatten(0, 1).double()


def draw_captions(data: Data, count: int | None, without: Sequence[str], seed: int) -> list[str]:
    """Up to ``count`` (or all) different captions of a set in random order, none with one of the phrases in it.

    >>> from pathlib import Path
    >>> from bdm_kit_text_to_image.prompts.captions import seal_captioned
    >>> data = seal_captioned(Path("data"), torch.zeros(2, 3, 16, 16), ["a red star", "a blue ring"], [{}, {}])
    >>> draw_captions(data, None, without=["star"], seed=0)
    ['a blue ring']
    """
    from bdm_torch.image_sets import load_rows

    captions = sorted({str(row.get("caption", "")) for row in load_rows(data)} - {""})
    phrases = [phrase.lower() for phrase in without]
    allowed = [caption for caption in captions if not any(phrase in caption.lower() for phrase in phrases)]
    random.Random(f"captions to preserve {seed}").shuffle(allowed)
    return allowed[:count]


def _rows(rows: Tensor, width: int, device: torch.device) -> Tensor:
    if rows.ndim != 2 or rows.shape[1] != width:
        raise UserError(f"rows of shape {tuple(rows.shape)} do not fit projections of texts of width {width}")
    if not bool(torch.isfinite(rows).all()):
        raise UserError("rows for the editor are not finite")
    return rows.to(device=device, dtype=torch.float64)


def _stack(edits: list[Edit], width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """All sources, destinations and their weights: (M, d), (M, d), (M,)."""
    if not edits or not sum(len(edit.sources) for edit in edits):
        raise UserError("there is nothing to edit: give at least one source with its destination")
    for edit in edits:
        if edit.sources.shape != edit.destinations.shape:
            raise UserError(
                f"{tuple(edit.sources.shape)} sources do not match {tuple(edit.destinations.shape)} destinations"
            )
        if not edit.weight > 0:
            raise UserError(f"the weight of an edit must be above 0, not {edit.weight:g}")
    sources = torch.cat([_rows(edit.sources, width, device) for edit in edits])
    destinations = torch.cat([_rows(edit.destinations, width, device) for edit in edits])
    weights = torch.cat([sources.new_full((len(edit.sources),), edit.weight) for edit in edits])
    return sources, destinations, weights


def _energy(gram: Tensor, coordinates: Tensor) -> float:
    """The sum over columns c of c^T gram c."""
    return max(0.0, float((coordinates * (gram @ coordinates)).sum()))
