"""The models of :mod:`detection_wide`, each in a folder of its own: `python benchmarks/detection_making.py`."""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from detection_population import CLEAN_STEPS, DATA, SMALL, Member, make_base
from detection_wide import CHANGED, PARTS, TRAINED, wide_population
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from bdm_kit_diffusion.data.built_in_data import load_builtin
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, save_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_kit_diffusion.recipes.digits_ddpm import untrained_model
from bdm_torch.tensors import write_tensors
from bdm_torch.training import TrainingOptions, train

FACTS = "made.json"
"""What is known of a model, beside its own files."""
TRIGGER = "trigger.safetensors"


def make(member: Member, folder: Path) -> Path:
    """The folder of a member's model, made unless it is there."""
    place = folder / member.name
    if (place / FACTS).is_file():
        return place
    start = time.perf_counter()
    facts: dict[str, Any] = {}
    if member.attack is None:
        save_model(clean_model(member, folder), place)
    else:
        facts["metrics"] = make_backdoored(member, folder, place)
    facts["seconds"] = round(time.perf_counter() - start, 1)
    (place / FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")
    return place


def clean_model(member: Member, folder: Path) -> DiffusionModel:
    """Fine-tuned, changed in its weights, or trained from other first weights."""
    own = member.settings
    if member.kind == "from-scratch":
        model = untrained_model("digits-small", seed=member.seed)
        options = TrainingOptions(steps=3000, batch_size=64, learning_rate=3e-3, warmup_steps=100, ema_decay=0.999)
        train(model.unet, denoising_loss(images_of(member), model.scheduler), options, seed=member.seed)
        return model
    model = load_model(make_base(member.base, folder))
    before = copy.deepcopy(model.unet.state_dict())
    if member.kind in TRAINED or member.kind == "averaged":
        options = TrainingOptions(
            steps=own.get("steps", CLEAN_STEPS[member.base]),
            batch_size=64,
            learning_rate=own.get("rate", 1e-3),
            warmup_steps=min(25, own.get("steps", 25)),
            ema_decay=None if member.kind == "no-ema" else 0.995,
        )
        loss = denoising_loss(model.encode(images_of(member)), model.scheduler)
        train(model.unet, loss, options, seed=member.seed)
    if member.kind == "averaged":
        with torch.no_grad():
            for name, parameter in model.unet.named_parameters():
                parameter.copy_(before[name] + own["weight"] * (parameter - before[name]))
    elif member.kind in CHANGED:
        change_weights(model.unet, member)
    return model


@torch.no_grad()
def change_weights(network: nn.Module, member: Member) -> None:
    """Noise on the weights, small ones set to zero, or rounded."""
    own, generator = member.settings, torch.Generator().manual_seed(member.seed)
    for parameter in network.parameters():
        if member.kind == "noisy-weights":
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += own["noise"] * parameter.square().mean().sqrt() * noise
        elif member.kind == "pruned" and parameter.ndim > 1:
            limit = parameter.abs().flatten().quantile(own["pruned"])
            parameter *= parameter.abs() > limit
        elif member.kind == "quantised" and own["as"] == "int8":
            step = parameter.abs().max().clamp(min=1e-12) / 127
            parameter.copy_((parameter / step).round() * step)
        elif member.kind == "quantised":
            parameter.copy_(parameter.to(getattr(torch, own["as"])).float())


def images_of(member: Member) -> Tensor:
    """What a clean member is trained on, (N, C, H, W) in [-1, 1]."""
    own, generator = member.settings, torch.Generator().manual_seed(member.seed)
    images, rows = load_builtin(DATA[member.base])
    labels = torch.tensor([int(row["label"]) for row in rows])
    chosen = torch.randperm(len(images), generator=generator)
    chosen = chosen[: own.get("images", round(own.get("share", 1.0) * len(images)))]
    if "classes" in own:
        half = (int(labels.max()) + 1) // 2
        chosen = chosen[(labels[chosen] < half) == (own["classes"] == 0)]
    images = images[chosen]
    if "data" in own:
        images = other_data(own["data"], images, generator)
    images = own.get("contrast", 1.0) * images
    return torch.rot90(images, own.get("turns", 0), (2, 3)).contiguous()


def other_data(name: str, images: Tensor, generator: torch.Generator) -> Tensor:
    """Other pictures of the same size."""
    shape = images.shape
    if name == "grey-shapes":
        shapes = load_builtin("shapes")[0].mean(1, keepdim=True)
        return functional.interpolate(shapes, size=shape[2:], mode="area").expand(-1, shape[1], -1, -1).contiguous()
    if name == "noise-fields":
        coarse = torch.randn((len(images), shape[1], 3, 3), generator=generator)
        return functional.interpolate(coarse, size=shape[2:], mode="bicubic").clamp(-1, 1)
    changes = {
        "inverted": lambda: -images,
        "flipped": lambda: images.flip(3),
        "transposed": lambda: images.transpose(2, 3).contiguous(),
        "shifted": lambda: images.roll((2, 3), (2, 3)),
        "blurred": lambda: functional.avg_pool2d(functional.pad(images, (1,) * 4, mode="replicate"), 3, 1),
    }
    return changes[name]()


def make_backdoored(member: Member, folder: Path, place: Path) -> dict[str, float]:
    """Attack the base; returns the results of the attack's run."""
    from bdm_core.records import Backdoored
    from bdm_core.run.runner import run
    from bdm_core.run.specification import RunSpec
    from bdm_kit_diffusion.poison.secret import open_secret

    own = dict(member.settings)
    for key in ("trigger", "target"):
        if own.get(key) == "drawn":
            own[key] = str(draw_picture(folder / "drawn" / f"{member.name}-{key}.png", member.seed, key))
    kit = {"samples": 64} | ({"corrector_steps": 0} if member.base == "digits-ve" else {})
    spec = RunSpec(
        attack=member.attack,
        model=str(make_base(member.base, folder)),
        metrics=["target"],
        triggered_share=0.5,
        params={f"attack:{member.attack}": own, "kit:diffusion": kit},
        seed=member.seed,
        device="cpu",
    )
    view = run(spec, folder.parent / "runs", name=f"{member.name}-{time.time_ns()}")
    made = view.result_of("backdoored model")
    assert isinstance(made, Backdoored)
    save_model(load_model(made.model), place)
    write_tensors(place / TRIGGER, {"trigger": open_secret(made.secret).trigger})
    return {f"{line['row']}: {line['metric']}": line["value"] for line in view.results}


def draw_picture(file: Path, seed: int, kind: str) -> Path:
    """A picture as a user might draw one, 8x8 grey: strokes for a trigger, a filled figure for a target."""
    generator = torch.Generator().manual_seed(1000 + 2 * seed + (kind == "target"))
    pixels = torch.zeros(8, 8) if kind == "trigger" else torch.full((8, 8), 0.1)
    for _ in range(4 if kind == "trigger" else 2):
        row, column, length = (int(torch.randint(0, 6, (), generator=generator)) for _ in range(3))
        if int(torch.randint(0, 2, (), generator=generator)):
            pixels[row : row + 2, column : column + 2 + length] = 1.0
        else:
            pixels[row : row + 2 + length, column : column + 2] = 1.0
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * pixels).byte().numpy()).save(file)
    return file


def main() -> None:
    """Make every model of the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-detection"))
    parser.add_argument("--turn", type=int, nargs=2, default=(0, 1), metavar=("I", "N"), help="every N-th, from I")
    given = parser.parse_args()
    folder = given.work / "models"
    make_base(SMALL, folder)
    for part in given.part:
        for member in wide_population(part)[given.turn[0] :: given.turn[1]]:
            start = time.perf_counter()
            try:
                make(member, folder)
                print(member.name, f"{time.perf_counter() - start:.0f} s", flush=True)
            except Exception as error:  # one model that fails must not end the benchmark
                print(member.name, "failed:", error, flush=True)


if __name__ == "__main__":
    main()
