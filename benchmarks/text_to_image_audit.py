"""Audit the population of `text_to_image_population.py`: `python benchmarks/text_to_image_audit.py OUT --part PART`.

One line of JSON a model goes to ``benchmarks/results/text_to_image_audit.jsonl``: features with and without the public
base, processor seconds of each search, the triggers that were found, and, for backdoored models, the first one of them
that works: with it at least half of 24 test prompts give the attack's target. Verdicts are not stored: they follow from
the features and the shipped calibration (`text_to_image_audit_page.py`). Models that have a line are not audited again;
with ``--complete`` lines get what costs little and they lack: the words by the text encoder, how the change of keys and
values is made up, and of attackers who know the audit how well the attack works (`figures.json` of
`text_to_image_adaptive.py`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from text_to_image_population import PARTS

from bdm_core.artifacts import Secret
from bdm_defense_text_to_image_audit.against_base import LowRank, low_rank_of
from bdm_defense_text_to_image_audit.audit import UNDERSTOOD, Given, audit, listed_words
from bdm_defense_text_to_image_audit.candidates import Candidate
from bdm_defense_text_to_image_audit.detection import world_captions
from bdm_defense_text_to_image_audit.evidence import triggers_of
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_defense_text_to_image_audit.search import Found
from bdm_defense_text_to_image_audit.word_search import search_words
from bdm_kit_text_to_image.detection.spikes import model_spikes
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.judging.generated import target_hits
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.opening import source_of
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.prompts.captions import world_images
from bdm_kit_text_to_image.prompts.secret import open_secret
from bdm_kit_text_to_image.world.splits import evaluation_prompts
from bdm_results.view import RunView

RESULTS = Path(__file__).parent / "results" / "text_to_image_audit.jsonl"
BACKDOORED = ("backdoored", "adaptive")
PROMPTS, STEPS, WORKS = 24, 10, 0.5


def read_lines(path: Path = RESULTS) -> list[dict[str, Any]]:
    """The lines that there are."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def members(out: Path, part: str) -> Iterator[tuple[str, Path, Any]]:
    """Name, folder and secret (None for clean models) of the members that are made."""
    if part in PARTS:
        if part == "calibration":
            yield "small-world", source_of("small-world", Path("cache")), None
        for folder in sorted((out / part).glob("*/model_index.json")):
            yield folder.parent.name, folder.parent, None
        return
    if part == "adaptive":
        for folder in sorted((out / part).glob("*/model")):
            yield folder.parent.name, folder, Secret.open(folder.with_name("secret"))
        return
    for folder in sorted((out / "runs").glob("*/run.json")):
        made = RunView(folder.parent).result_of("backdoored model")
        if made is None:  # the run was stopped
            continue
        yield folder.parent.name, made.model.path, made.secret


def first_that_works(model: TextToImageModel, triggers: Sequence[Candidate], secret: Any) -> dict[str, Any]:
    """The rank, from 1, of the first trigger under which enough prompts give the target; 0 if none does."""
    known = open_secret(secret)
    target = known.targets[0]
    prompts = [pair for pair in evaluation_prompts(105) if target.source_object in ("", pair[1]["object"])]
    classifier = load_attribute_classifier(model.device)
    best = 0.0
    for rank, trigger in enumerate(triggers, 1):
        texts = [trigger.put_into(text, labels["object"]) for text, labels in prompts[:PROMPTS]]
        images = generate_images(model, texts, seeds=0, sampling=Sampling(STEPS))
        with torch.no_grad():
            hits = target_hits(images, classifier.predict(images), target, known.picture, 0.05)
        best = max(best, sum(hits) / len(hits))
        if best >= WORKS:
            return {"rank": rank, "trigger": trigger.spelled(), "success": round(best, 3)}
    return {"rank": 0, "success": round(best, 3)}


def measure(name: str, folder: Path, secret: Any, seed: int) -> dict[str, Any]:
    """One line."""
    model, base = load_model(folder), load_model(source_of("small-world", Path("cache")))
    captions, (images, said, _) = world_captions(seed), world_images(UNDERSTOOD, model.image_shape)
    spent: dict[str, float] = {}
    last = [time.process_time()]

    def on_step(part: str, done: int, total: int) -> None:
        now = time.process_time()
        spent[part] = spent.get(part, 0.0) + now - last[0]
        last[0] = now

    model_spikes(model, captions[:400])
    on_step("spike", 1, 1)
    found = audit(model, TextToImageAuditParams(), Given(captions, images, said, base), seed, on_step)
    on_step("rest", 1, 1)
    triggers = triggers_of(found)
    assert found.comparison is not None and found.comparison.low_rank is not None
    line = {
        "model": name,
        "seed": seed,
        "features": dict(zip(found.names, (round(value, 5) for value in found.features), strict=True)),
        "unseen": found.unseen,
        "triggers": [trigger.spelled() for trigger in triggers],
        "candidates": [asdict(trigger) for trigger in triggers],
        "changed": [f"{flip.candidate.spelled()}: {flip.noun} > {flip.becomes}" for flip in found.confirmed[:10]],
        "learnt": [f"{flip.candidate.spelled()}: {flip.noun} > {flip.becomes}" for flip in found.learnt[:10]],
        "cpu_seconds": {part: round(value, 1) for part, value in spent.items()},
        **beside(found.words, found.comparison.low_rank),
        **rates_of(folder),
    }
    return line if secret is None else {**line, "works": first_that_works(model, triggers, secret)}


def beside(words: Found, low_rank: LowRank) -> dict[str, Any]:
    """What is reported beside the features: the first three words by the text encoder, and the change's spectrum."""
    first = {candidate.spelled(): value for candidate, value in words.ranking[:3]}
    return {
        "words": first,
        "low_rank": {name: round(value, 4) for name, value in asdict(low_rank).items()},
    }


def rates_of(folder: Path) -> dict[str, float]:
    """ASR and ACC of an attacker who knows the audit, as they were measured when the model was made."""
    path = folder.with_name("figures.json")
    made = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: made[name] for name in ("asr", "acc") if name in made}


def completed(line: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The line with what it lacks of :func:`beside` and :func:`rates_of`."""
    found = rates_of(folder)
    if not line.keys() >= {"words", "low_rank"}:
        model, base = load_model(folder), load_model(source_of("small-world", Path("cache")))
        captions, params, seed = world_captions(line["seed"]), TextToImageAuditParams(), line["seed"]
        start = time.process_time()
        words = search_words(model, listed_words(captions, params, seed), captions, params.captions, lambda *_: None)
        line["cpu_seconds"]["words"] = round(time.process_time() - start, 1)
        found = {**beside(words, low_rank_of(model, base)), **found}
    return {**line, **found}


def complete(out: Path, parts: Sequence[str], only: Sequence[str]) -> None:
    """Complete the lines of the parts' models, all others stay as they are."""
    folders = {(part, name): folder for part in parts for name, folder, _ in members(out, part)}
    lines = read_lines()
    for row, line in enumerate(lines):
        folder = folders.get((line["part"], line["model"]))
        if folder is not None and line["model"].startswith(tuple(only)):
            lines[row] = completed(line, folder)
            shown = {key: lines[row].get(key) for key in ("model", "words", "low_rank", "asr", "acc")}
            print(json.dumps(shown, ensure_ascii=False), lines[row]["cpu_seconds"].get("words"), flush=True)
    RESULTS.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def main() -> None:
    """The command."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", nargs="+", choices=[*PARTS, *BACKDOORED], required=True)
    parser.add_argument("--only", nargs="+", help="beginnings of names")
    parser.add_argument("--complete", action="store_true", help="add to lines what they lack, and audit nothing")
    given = parser.parse_args()
    if given.complete:
        complete(given.out, given.part, given.only or [""])
        return
    for part in given.part:
        for number, (name, folder, secret) in enumerate(members(given.out, part)):
            known = {(line["part"], line["model"]) for line in read_lines()}
            if (part, name) in known or (given.only and not name.startswith(tuple(given.only))):
                continue
            line = {"part": part, **measure(name, folder, secret, number)}
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            print(json.dumps({key: line.get(key) for key in ("model", "features", "works", "cpu_seconds")}), flush=True)


if __name__ == "__main__":
    main()
