"""How fast the closed-form editor is at Stable Diffusion 1.5's shapes, against editing each projection by itself.

``python benchmarks/eviledit.py`` draws the 32 key and value projections of SD 1.5's 16 cross-attention layers (texts
768 wide, 77 tokens) at random, redirects one prompt of 77 rows to another and preserves 1 (the paper's) or 96 further
prompts. The editor factorises once for all projections. The comparison forms and solves the normal equations of every
projection by itself, also in float64 and without Python loops over rows. Both run on one thread, in turns; the medians
and the largest difference between their weights go to ``benchmarks/results/eviledit.json``. Takes about three minutes.

``accuracy`` there says how far weights lie from the exact solution, float64 kept to the end: the editor's, and those of
the released code's way, which sums and inverts in float32. ``--accuracy`` measures this alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from bdm_kit_text_to_image.editing.projections import Edit, edit_projections, find_projections

RESULTS = Path(__file__).parent / "results"
WIDTH, TOKENS, HEADS = 768, 77, 8
CHANNELS = [320] * 2 + [640] * 2 + [1280] * 2 + [1280] + [1280] * 3 + [640] * 3 + [320] * 3
"""Of SD 1.5's cross-attention layers: two in each of three down blocks, one in the middle, three in each up block."""


def random_layers() -> nn.ModuleList:
    """The cross-attention layers, with diffusers' own initialisation."""
    return nn.ModuleList(
        Attention(query_dim=channels, cross_attention_dim=WIDTH, heads=HEADS, dim_head=channels // HEADS)
        for channels in CHANNELS
    ).requires_grad_(False)


def random_prompts(count: int, seed: int) -> Tensor:
    """Rows like a text encoder's: a shared start token, unit variance, (count * 77, 768) in float64."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, TOKENS, WIDTH, generator=generator, dtype=torch.float64)
    rows[:, 0] = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
    return rows.flatten(0, 1)


def each_by_itself(layers: nn.Module, edit: Edit, preserved: Tensor, regularisation: float) -> None:
    """W' = (lambda W + sum (W d) s^T + sum (W p) p^T) (lambda I + sum s s^T + sum p p^T)^-1 for one W after another."""
    for linear in find_projections(layers):
        weight = linear.weight.double()
        right = regularisation * weight + (edit.destinations @ weight.T).T @ edit.sources
        right += (preserved @ weight.T).T @ preserved
        left = regularisation * torch.eye(WIDTH, dtype=torch.float64)
        left += edit.sources.T @ edit.sources + preserved.T @ preserved
        linear.weight.copy_(torch.linalg.solve(left, right.T).T)


def measure(
    layers: nn.Module, work: Callable[[], Any], clean: dict[str, Tensor]
) -> tuple[float, dict[str, Tensor], Any]:
    """Seconds of one call, the weights after it, and what it returned."""
    layers.load_state_dict(clean)
    start = time.perf_counter()
    returned = work()
    seconds = time.perf_counter() - start
    return seconds, {name: value.clone() for name, value in layers.state_dict().items()}, returned


def compare(preserved_prompts: int, repeats: int, regularisation: float) -> dict[str, Any]:
    """Both ways on the same edit, in turns."""
    torch.manual_seed(0)
    layers = random_layers()
    clean = {name: value.clone() for name, value in layers.state_dict().items()}
    edit = Edit(random_prompts(1, 1), random_prompts(1, 2))
    preserved = random_prompts(preserved_prompts, 3)
    ours, theirs, difference, report = [], [], 0.0, None
    for _ in range(repeats):
        seconds, one, _ = measure(layers, lambda: each_by_itself(layers, edit, preserved, regularisation), clean)
        theirs.append(seconds)
        seconds, other, report = measure(
            layers, lambda: edit_projections(layers, [edit], preserved, regularisation), clean
        )
        ours.append(seconds)
        difference = max(difference, *(float((one[name] - other[name]).abs().max()) for name in one))
    assert report is not None
    return {
        "preserved_prompts": preserved_prompts,
        "regularisation": regularisation,
        "projections": report.edited,
        "width": report.width,
        "shared_seconds": round(statistics.median(ours), 4),
        "each_by_itself_seconds": round(statistics.median(theirs), 4),
        "times_faster": round(statistics.median(theirs) / statistics.median(ours), 2),
        "largest_difference": difference,
        "largest_change": max(float((other[name] - clean[name]).abs().max()) for name in clean),
        "residual": report.residual,
        "repeats": repeats,
    }


def accuracy() -> dict[str, float]:
    """Largest distance of a weight from the exact solution, one prompt edited and one preserved, lambda 1."""
    torch.manual_seed(0)
    layers = random_layers()
    edit, preserved = Edit(random_prompts(1, 1), random_prompts(1, 2)), random_prompts(1, 3)
    exact, single = [], []
    for linear in find_projections(layers):
        exact.append(_solved(linear.weight, edit, preserved))
        parts = Edit(edit.sources.float(), edit.destinations.float()), preserved.float()
        left, right = _normal_equations(linear.weight.float(), *parts)
        single.append((right @ torch.inverse(left)).double())
    edit_projections(layers, [edit], preserved, 1.0)
    ours = [linear.weight.double() for linear in find_projections(layers)]
    return {
        "ours, stored as float32": _distance(ours, exact),
        "sums and inverse in float32, as the released code has them": _distance(single, exact),
    }


def _normal_equations(weight: Tensor, edit: Edit, preserved: Tensor) -> tuple[Tensor, Tensor]:
    right = weight + (edit.destinations @ weight.T).T @ edit.sources + (preserved @ weight.T).T @ preserved
    left = torch.eye(WIDTH, dtype=weight.dtype) + edit.sources.T @ edit.sources + preserved.T @ preserved
    return left, right


def _solved(weight: Tensor, edit: Edit, preserved: Tensor) -> Tensor:
    left, right = _normal_equations(weight.double(), edit, preserved)
    return torch.linalg.solve(left, right.T).T


def _distance(found: list[Tensor], exact: list[Tensor]) -> float:
    return max(float((one - other).abs().max()) for one, other in zip(found, exact, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "eviledit.json")
    parser.add_argument("--accuracy", action="store_true", help="renew the distances from the exact solution alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.accuracy:
        known = json.loads(options.out.read_text(encoding="utf-8"))
        options.out.write_text(json.dumps({**known, "accuracy": accuracy()}, indent=1) + "\n", encoding="utf-8")
        return
    settings = [compare(1, options.repeats, 1.0), compare(96, min(3, options.repeats), 0.1)]
    must = {"times_faster": 5.0, "largest_difference": 1e-5}
    met = all(
        entry["times_faster"] >= must["times_faster"] and entry["largest_difference"] <= must["largest_difference"]
        for entry in settings
    )
    result = {
        "settings": settings,
        "accuracy": accuracy(),
        "must": must,
        "met": met,
        "threads": 1,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
