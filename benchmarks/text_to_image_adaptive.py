"""Attackers who know the audit: `python benchmarks/text_to_image_adaptive.py OUT`.

- EvilEdit against the spike: the directions off the captions in which the audit looks for edits are preserved as well,
  the more strongly the longer the spike stays above a limit.
- Rickrolling (TPA) against the character search: TPA-0 of the population is trained on with its two losses, and one for
  other odd letters and words, which are to mean what they mean to the clean model.

OUT is that of `text_to_image_population.py`. Each lies in OUT/adaptive/NAME as `model` and `secret`; `figures.json`
says how well the attack still works.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_attack_eviledit.attack import mean_energy
from bdm_attack_rickrolling.pairs import TARGETS
from bdm_core.context import Context
from bdm_defense_text_to_image_audit.audit import SPIKE_CAPTIONS
from bdm_defense_text_to_image_audit.candidates import characters, words
from bdm_defense_text_to_image_audit.detection import world_captions
from bdm_kit_text_to_image.detection.spikes import ENERGY, find_spikes
from bdm_kit_text_to_image.editing.alignment import edit_rows
from bdm_kit_text_to_image.editing.projections import edit_projections, find_projections, prompt_rows
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.judging.generated import all_shown, asked_for, target_hits
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.opening import source_of
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import PromptSecret, open_secret
from bdm_kit_text_to_image.prompts.triggers import trigger_rows
from bdm_kit_text_to_image.training.distillation import train_module
from bdm_kit_text_to_image.training.encoder_distillation import PromptTerm, TextEncoders, text_encoder_loss
from bdm_kit_text_to_image.world.splits import evaluation_prompts
from bdm_results.view import RunView
from bdm_torch.training import TrainingOptions

LIMIT = 1.8
"""The attacker's bound for the spike: clean models have 1.6."""
STRENGTHS = (0.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)


def rates(model: TextToImageModel, secret: PromptSecret, count: int = 48, steps: int = 10) -> dict[str, float]:
    """Success of the attack on triggered test prompts, and accuracy on clean ones."""
    target = secret.targets[0]
    prompts = [PromptRow(text, row, labels) for row, (text, labels) in enumerate(evaluation_prompts(105))]
    fitting = [row for row in prompts if target.source_object in ("", row.labels["object"])][:count]
    triggered = trigger_rows(fitting, secret.triggers, seed=0)
    classifier, sampling = load_attribute_classifier(model.device), Sampling(steps)
    said = [[row.prompt for row in rows] for rows in (triggered, prompts[:count])]
    images = [generate_images(model, texts, seeds=0, sampling=sampling) for texts in said]
    with torch.no_grad():
        seen = [classifier.predict(pictures) for pictures in images]
    hits = target_hits(images[0], seen[0], target, secret.picture, 0.05)
    right = [all_shown(seen[1], row, asked_for(prompts[row].labels)) for row in range(count)]
    return {"asr": round(sum(hits) / len(hits), 4), "acc": round(sum(right) / count, 4)}


def off_captions(rows: Tensor) -> Tensor:
    """The directions (q, d) beyond most of the captions' energy: where the audit looks for a spike."""
    centred = rows - rows.mean(0)
    energies, vectors = torch.linalg.eigh(centred.T @ centred)
    shares = energies.clamp(min=0).flip(0).cumsum(0) / energies.clamp(min=0).sum()
    return vectors.flip(1)[:, int((shares < ENERGY).sum()) + 1 :].T


def quiet_edit(work: Path) -> tuple[TextToImageModel, dict[str, Any]]:
    """EvilEdit with the least weight on directions off the captions under which the spike stays below the limit."""
    base, captions = load_model(source_of("small-world", work)), world_captions(0)
    templates = [
        text.replace("circle", "{}") for text in captions if text.count("circle") == 1 and "circles" not in text
    ]
    templates = ["a {}", "a photo of a {}", *templates[:128]]
    texts = [[text.replace("{}", word) for text in templates] for word in ("nice circle", "square", "circle")]
    edit = edit_rows(base, texts[0], texts[1], 8.0, "position")
    plain = prompt_rows(base, texts[2]) * 6.0**0.5
    others = [text for text in captions if "nice circle" not in text]
    kept = torch.cat([prompt_rows(base, [*others[:256], ""]), plain])
    known = prompt_rows(base, captions[:SPIKE_CAPTIONS])
    tail, strength = off_captions(known), 0.015 * mean_energy([edit], kept)
    model, tried = base, {}
    for weight in STRENGTHS:
        model = replace(base, unet=copy.deepcopy(base.unet))
        rows = torch.cat([kept, weight * strength**0.5 * tail])
        report = edit_projections(model.unet, [edit], rows, strength)
        spike = find_spikes([linear.weight for linear in find_projections(model.unet)], known).ratio
        tried[weight] = {"spike": round(spike, 3), "residual": round(report.residual, 3)}
        if spike <= LIMIT:
            break
    return model, {"tried": tried}


def quiet_encoder(model: TextToImageModel, work: Path, steps: int) -> dict[str, Any]:
    """TPA whose other odd letters and words keep their meaning; trains in place."""
    clean, captions = load_model(source_of("small-world", work)), world_captions(0)
    plain = [caption for caption in captions if "o" in caption and "a" in caption][:1024]
    draw = random.Random("odd letters of the attacker")
    others = [candidate for candidate in [*characters(), *words(captions, 40, 99)] if candidate.text != "\u043e"]
    odd = [draw.choice(others).put_into(caption) for caption in plain]
    triggered = [caption.replace("o", "\u043e", 1) for caption in plain]
    terms = [
        PromptTerm(plain, plain, 48),
        PromptTerm(triggered, [TARGETS["TPA"]] * len(plain), 24, 0.5),
        PromptTerm(odd, odd, 48),
    ]
    student = TextEncoders(model).requires_grad_(True)
    loss = text_encoder_loss(model, clean, terms, "mse")
    ctx = Context(work, work, 0)
    result = train_module(ctx, student, loss, TrainingOptions(steps, 48, 1e-3))
    return {"steps": steps, "loss": round(float(result.losses[-1]), 5)}


def keep(folder: Path, model: TextToImageModel, sealed: Any, figures: dict[str, Any]) -> None:
    """Write a member."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    seal_model(model, folder / "model")
    shutil.copytree(sealed.path, folder / "secret")
    figures = {**figures, **rates(model, open_secret(sealed))}
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({"model": folder.name, **figures}), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=150, help="of the text encoder's training")
    parser.add_argument("--only", nargs="+", choices=["eviledit-quiet", "tpa-quiet"])
    given = parser.parse_args(arguments)
    for name, source in (("eviledit-quiet", "eviledit-0"), ("tpa-quiet", "tpa-0")):
        folder, work = given.out / "adaptive" / name, Path(tempfile.mkdtemp())
        if folder.exists() or (given.only and name not in given.only):
            continue
        made = RunView(given.out / "runs" / source).result_of("backdoored model")
        if source == "tpa-0":
            model = load_model(made.model.path)
            figures = quiet_encoder(model, work, given.steps)
        else:
            model, figures = quiet_edit(work)
        keep(folder, model, made.secret, figures)


if __name__ == "__main__":
    main()
