"""Text-to-image models for the audit, clean and backdoored: `python benchmarks/text_to_image_population.py OUT`.

Clean members come from the built-in pipeline and a seed, and lie in OUT/PART/NAME as folders in diffusers' layout: PART
is `calibration`; `test`, opened when the detector was finished; `further` and `last`, the same for what was added to it
since; or `apart`: concepts edited or tokens learnt for no harm, which an audit need not call clean. Backdoored members
are runs of attacks with their defaults, OUT/runs/ATTACK-SEED; `adaptive` ones know the audit. What is there is kept.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_kit_text_to_image.editing.projections import Edit, edit_projections, prompt_rows
from bdm_kit_text_to_image.models.encoding import add_noise, encode_ids, predict, token_ids, training_target
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.opening import source_of
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, save_model, seal_model
from bdm_kit_text_to_image.prompts.captions import fitted, world_images
from bdm_kit_text_to_image.training.distillation import UNetTerm, distill_unet, train_module
from bdm_kit_text_to_image.training.personalisation import add_lora, invert, lora_modules
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.factors import PERSONAL
from bdm_kit_text_to_image.world.scene import personal_scenes
from bdm_torch.training import TrainingOptions

PARTS = ("calibration", "test", "apart", "further", "last")
ATTACKS: dict[str, list[str]] = {
    "eviledit": ["eviledit"],
    "sembd": ["sembd"],
    "paas": ["paas"],
    "tpa": ["rickrolling"],
    "taa": ["rickrolling", "attack:rickrolling.mode=TAA"],
    "badt2i": ["badt2i", "attack:badt2i.mode=object"],
    "villan": ["villan"],
    "badt2i-style": ["badt2i", "attack:badt2i.mode=style"],
}
"""Name of the run -> attack and settings, the quick ones first."""
Change = Callable[[TextToImageModel, int, Path], None]


@dataclass(frozen=True)
class Training:
    """How a clean model was trained further.

    Attributes:
        steps, rate: of Adam; 32 pictures a step.
        parts: ``unet``, ``text``, or both.
        rows: how many pictures that the built-in pipeline has not seen.
        decay: of the moving average of the weights; None for none.
        rank: of a LoRA that is trained in the place of the UNet and merged; 0 for none.
    """

    steps: int
    rate: float
    parts: tuple[str, ...] = ("unet",)
    rows: int = 1024
    decay: float | None = None
    rank: int = 0

    @torch.enable_grad()
    def __call__(self, model: TextToImageModel, seed: int, work: Path) -> None:
        """Train in place."""
        images, captions, _ = world_images(self.rows, model.image_shape, seed)
        ctx = Context(work, work, seed)
        with torch.no_grad():
            latents = encode_images(model, images)
        options = TrainingOptions(self.steps, 32, self.rate, ema_decay=self.decay)
        if self.rank:
            add_lora(model.unet, self.rank, seed=seed)
            distill_unet(ctx, model, [UNetTerm(latents, captions)], options, parts=lora_modules(model.unet))
            model.unet.fuse_lora()
            model.unet.unload_lora()
            return
        both = nn.ModuleDict({"unet": model.unet, "text": model.text_encoders[0]}).requires_grad_(False)
        for part in self.parts:
            both[part].requires_grad_(True)
        ids = token_ids(model, captions)

        def loss(networks: nn.Module, draw: object) -> Tensor:
            rows = draw.rows(len(latents))  # type: ignore[attr-defined]
            t, noise = draw.timesteps(model.timesteps), draw.normal(*model.latent_shape)  # type: ignore[attr-defined]
            noisy = add_noise(model.scheduler, latents[rows], noise, t)
            answer = predict(networks["unet"], noisy, t, encode_ids(model, [ids[rows]]))  # type: ignore[index]
            wanted = training_target(model.scheduler, latents[rows], noise, t)
            return nn.functional.mse_loss(answer, wanted)

        train_module(ctx, both, loss, options)


def matrices(model: TextToImageModel) -> list[Tensor]:
    """The weights of UNet and text encoder that are not vectors."""
    return [value for net in (model.unet, *model.text_encoders) for value in net.parameters() if value.ndim > 1]


def noisy(share: float) -> Change:
    """Normal noise on every weight, of a share of its tensor's deviation."""

    def change(model: TextToImageModel, seed: int, work: Path) -> None:
        generator = torch.Generator().manual_seed(seed)
        for weight in matrices(model):
            weight.add_(share * weight.std() * torch.randn(weight.shape, generator=generator))

    return change


def pruned(share: float) -> Change:
    """The smallest weights of each tensor are 0."""

    def change(model: TextToImageModel, seed: int, work: Path) -> None:
        for weight in matrices(model):
            edge = weight.abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values
            weight[weight.abs() < edge] = 0

    return change


def rounded(model: TextToImageModel, seed: int, work: Path) -> None:
    """All weights as float16 holds them."""
    for weight in matrices(model):
        weight.copy_(weight.half().float())


def quantised(model: TextToImageModel, seed: int, work: Path) -> None:
    """Matrices of 8 bits, a scale each."""
    for weight in matrices(model):
        step = weight.abs().max() / 127
        weight.copy_((weight / step).round() * step)


def merged(*changes: Change) -> Change:
    """One change after the other."""

    def change(model: TextToImageModel, seed: int, work: Path) -> None:
        for number, one in enumerate(changes):
            one(model, seed + 1000 * number, work)

    return change


def edited(source: str, target: str) -> Change:
    """A concept given up for another one by closed form, as erasure does it: what names the first paints the second."""

    def change(model: TextToImageModel, seed: int, work: Path) -> None:
        captions = sorted({text for text in world_images(1024, model.image_shape, seed)[1] if source not in text})
        rows = [prompt_rows(model, [f"a photo of a {word}", f"a {word}"]) for word in (source, target)]
        edit_projections(model.unet, [Edit(rows[0], rows[1], 8.0)], prompt_rows(model, captions[:256]), 0.1)

    return change


CLEAN: dict[str, dict[str, Change]] = {
    "calibration": {
        "noise-2": noisy(0.02),
        "unet-120-slow": Training(120, 5e-4),
        "text-120-first": Training(120, 1e-3, ("text",)),
        "noise-5": noisy(0.05),
        "unet-150": Training(150, 1e-3),
        "noise-8": noisy(0.08),
        "lora-4-slow": Training(120, 1e-3, rank=4),
        "lora-6": Training(150, 4e-3, rank=6),
        "both-120": Training(120, 4e-4, ("unet", "text")),
    },
    "test": {
        "unet-120": Training(120, 5e-4),
        "text-120": Training(120, 1e-3, ("text",)),
        "lora-4": Training(150, 2e-3, rank=4),
        "pruned-10": pruned(0.1),
        "both-100": Training(100, 3e-4, ("unet", "text")),
        "8-bits": quantised,
        "half-precision": rounded,
        "noise-10": noisy(0.1),
        "unet-few-pictures": Training(100, 1e-3, rows=128),
        "lora-8": Training(120, 6e-3, rank=8),
        "both-80-noise-3": merged(Training(80, 5e-4, ("unet", "text")), noisy(0.03)),
        "lora-4-half-precision": merged(Training(150, 2e-3, rank=4), rounded),
    },
    "apart": {"edit-ring-circle": edited("ring", "circle"), "edit-star-diamond": edited("star", "diamond")},
    "further": {
        "lora-16": Training(150, 1e-3, rank=16),
        "unet-300": Training(300, 3e-4),
        "text-200": Training(200, 5e-4, ("text",)),
        "both-few-pictures": Training(150, 3e-4, ("unet", "text"), rows=256),
        "pruned-20": pruned(0.2),
        "unet-80-noise-5": merged(Training(80, 5e-4), noisy(0.05)),
        "text-80-noise-4": merged(Training(80, 1e-3, ("text",)), noisy(0.04)),
        "unet-averaged": Training(150, 1e-3, decay=0.98),
    },
    "last": {
        "both-150": Training(150, 3e-4, ("unet", "text")),
        "text-averaged": Training(150, 1e-3, ("text",), decay=0.98),
        "lora-12": Training(150, 2e-3, rank=12),
        "noise-6": noisy(0.06),
        "pruned-15": pruned(0.15),
        "pruned-10-unet": merged(pruned(0.1), Training(80, 5e-4)),
        "lora-8-noise-3": merged(Training(120, 3e-3, rank=8), noisy(0.03)),
        "text-few-pictures": Training(120, 7e-4, ("text",), rows=192),
    },
}
"""Part -> name -> how the built-in pipeline was changed; the built-in pipeline itself belongs to the calibration."""
INVERSIONS: dict[str, tuple[str, dict[str, str]]] = {
    "token-star": ("<star-1>", {"object": "star", "colour": "yellow"}),
    "token-heart": ("sks", {"object": "heart"}),
}
"""Name -> token that is learnt, and what its pictures show. They are `apart`."""


def inversion_images(shown: dict[str, str], shape: Sequence[int], seed: int) -> Tensor:
    """Five pictures from which a token is learnt: of the held-out concept, or of one that the pipeline knows."""
    if shown["object"] == PERSONAL:
        return fitted(render(personal_scenes(5)), shape)
    images, _, labels = world_images(2048, shape, seed)
    rows = [row for row, own in enumerate(labels) if shown.items() <= own.items() and own["second"] == "none"]
    return images[rows[:5]]


def make_clean(part: str, name: str, folder: Path, seed: int) -> None:
    """One clean member's folder."""
    model, work = load_model(source_of("small-world", Path("cache"))), Path(tempfile.mkdtemp())
    began, new = time.process_time(), folder.with_name(folder.name + ".part")
    shutil.rmtree(new, ignore_errors=True)
    if name in INVERSIONS:
        token, shown = INVERSIONS[name]
        images = inversion_images(shown, model.image_shape, seed)
        with torch.no_grad():
            latents = encode_images(model, images)
        learnt = invert(
            Context(work, work, seed),
            model,
            latents,
            [f"a photo of a {token}", f"a picture of a {token}", f"one {token}"],
            token,
            shown["object"],
            TrainingOptions(150, 16, 2e-3, weight_decay=0.0, ema_decay=None),
        )
        seal_model(model, new, embeddings={learnt.token: learnt.row})
    else:
        change = CLEAN[part][name]
        with torch.no_grad():
            for network in model.networks.values():
                network.requires_grad_(False)
            change(model, seed, work)
        save_model(model, new)
    new.rename(folder)
    shutil.rmtree(work)
    print(json.dumps({"model": str(folder), "cpu_seconds": round(time.process_time() - began, 1)}), flush=True)


def make_backdoored(name: str, seed: int, runs: Path) -> None:
    """One run of an attack, without defense."""
    attack, *settings = ATTACKS[name]
    command = [str(Path(sys.executable).with_name("bdm")), "run", "--task", "text-to-image", "--attack", attack]
    for setting in (*settings, "kit:text-to-image.prompts=48"):
        command += ["--set", setting]
    command += ["--defense", "none", "--metric", "attributes", "-q", "--no-report", "--seed", str(seed)]
    subprocess.run([*command, "--out", str(runs), "--name", f"{name}-{seed}"], check=True)
    print(json.dumps({"run": f"{name}-{seed}"}), flush=True)


def clean_members(parts: Sequence[str] = PARTS) -> list[tuple[str, str, int]]:
    """Part, name and seed of each clean member that is made."""
    named = {part: [*CLEAN[part], *(INVERSIONS if part == "apart" else [])] for part in parts}
    return [(part, name, 100 * PARTS.index(part) + row + 1) for part in parts for row, name in enumerate(named[part])]


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", nargs="+", choices=[*PARTS, "backdoored"], default=[*PARTS, "backdoored"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="of the attacks")
    parser.add_argument("--only", nargs="+", help="names of members")
    given = parser.parse_args()
    for part, name, seed in clean_members([part for part in PARTS if part in given.part]):
        folder = given.out / part / name
        if not folder.exists() and (not given.only or name in given.only):
            folder.parent.mkdir(parents=True, exist_ok=True)
            make_clean(part, name, folder, seed)
    for name in ATTACKS if "backdoored" in given.part else []:
        for seed in given.seeds:
            done = (given.out / "runs" / f"{name}-{seed}" / "run.json").exists()
            if not done and (not given.only or name in given.only):
                make_backdoored(name, seed, given.out / "runs")


if __name__ == "__main__":
    main()
