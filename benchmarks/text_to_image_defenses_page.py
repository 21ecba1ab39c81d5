"""The page of text-to-image attacks against defenses: how many pairs are measured, and what they say."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from classifier_pairs_numbers import Number, cost, estimate, shown
from detection_numbers import markdown
from swept import Line, read_lines
from text_to_image_aims import AFTER, aims, at, judges, reaches
from text_to_image_claims import WORDS, claims_table
from text_to_image_pairs import FINE_TUNED, PLAN, attack_of, label_of, latest, of_taken, planned, setting_of

from bdm_sweep import read_plan

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "text-to-image-defenses.md"
ROBUSTNESS = ("word", "character", "trigger", "noise", "crop")


def passes(line: Line) -> float | None:
    """Samples that passed the denoiser, forward or backward, in a defense's own stages."""
    found = [line["cost"].get(name) for name in ("forward_passes", "backward_passes")]
    return None if None in found else sum(found)


def state(lines: Sequence[Line]) -> str:
    """How many of the planned pairs are measured, which are not, and which failed."""
    plan = read_plan(PLAN)
    wanted, seeds = planned(plan), len(plan.seeds)
    rows = [["attack", "pairs planned", "measured", "failed", "not measured at any seed"]]
    for case in dict.fromkeys(case.name for case, _ in wanted):
        defenses = [name for other, name in wanted if other.name == case]
        mine = [line for line in lines if attack_of(line) == case]
        done = [line for line in mine if line["status"] == "complete"]
        known = {label_of(line) for line in done}
        missing = [name for name in defenses if name not in known]
        rest = "all" if not known else "none" if not missing else ", ".join(missing)
        rows.append([case, str(len(defenses) * seeds), str(len(done)), str(len(mine) - len(done)), rest])
    failed = [
        [attack_of(line), label_of(line), str(line["seed"]), str(line["error"]).replace("|", "/")]
        for line in lines
        if line["status"] == "failed"
    ]
    text = "No pair failed." if not failed else markdown([["attack", "defense", "seed", "why it failed"], *failed])
    return f"{markdown(rows)}\n\n{text}\n"


def prompt_board(lines: Sequence[Line]) -> str:
    """A row for each detector of prompts: means over its attacks."""
    numbers: dict[str, tuple[Number, int]] = {
        "AUROC": (at("backdoored", "auroc"), 3),
        "same texts, clean model": (at("clean", "auroc"), 3),
        "against clean captions as long": (at("controls", "auroc"), 3),
        "TPR at 5 % FPR": (at("backdoored", "tpr_at_5"), 3),
        "clean model": (at("clean", "tpr_at_5"), 3),
        "captions as long": (at("controls", "tpr_at_5"), 3),
        "TPR, own threshold": (at("backdoored", "tpr"), 3),
        "FPR": (at("backdoored", "fpr"), 3),
        "captions as long, flagged": (at("controls", "flagged"), 3),
        "CPU s a prompt": (cost("seconds_a_prompt"), 3),
        "forward passes": (cost("forward_passes"), 0),
    }
    rows = [["detector", "pairs", *numbers]]
    for name in dict.fromkeys(label_of(line) for line in lines):
        own = [line for line in lines if label_of(line) == name]
        if own:
            rows.append([name, str(len(own)), *(shown(controlled(own), *found) for found in numbers.values())])
    return markdown(rows) if len(rows) > 1 else "Not measured."


def controlled(lines: Sequence[Line]) -> list[Line]:
    """The lines with controls as a row, an empty one where there are none."""
    return [{**line, "controls": line.get("controls") or {}} for line in lines]


def prompt_matrix(lines: Sequence[Line], of: str = "") -> str:
    """AUROC (same texts on the clean model) / TPR / FPR at the own threshold: a row a detector, a column an attack.

    Args:
        lines: complete ones.
        of: only this defense; "" for all.
    """
    own = [line for line in judges(lines) if of in ("", line["defense"])]
    attacks = sorted({attack_of(line) for line in own})
    rows = [["detector", *attacks, "s a prompt"]]
    for name in dict.fromkeys(label_of(line) for line in own):
        cells = []
        for attack in attacks:
            here = [line for line in own if (attack_of(line), label_of(line)) == (attack, name)]
            numbers = [
                at("backdoored", "auroc"),
                at("clean", "auroc"),
                at("backdoored", "tpr"),
                at("backdoored", "fpr"),
            ]
            found = [estimate(here, number) for number in numbers]
            area, clean, hits, false = ("" if item is None else f"{item.mean:.2f}" for item in found)
            cells.append(f"{area} ({clean}) / {hits} / {false}" if here else "")
        mine = [line for line in own if label_of(line) == name]
        rows.append([name, *cells, shown(mine, cost("seconds_a_prompt"), 2).partition(" ")[0]])
    return markdown(rows) if own else "Not measured."


def model_table(lines: Sequence[Line]) -> str:
    """Detectors of models: how many verdicts say backdoored, by attack, and on the clean model."""
    judged = [line for line in lines if line["level"] == "model" and "score" in line.get("backdoored", {})]
    says = ("called backdoored", "called clean", "cannot tell")
    rows = [["detector", "attack", "models", *says, "clean model", "CPU s", "passes"]]
    for attack, name in dict.fromkeys(map(setting_of, judged)):
        own = [line for line in judged if setting_of(line) == (attack, name)]
        verdicts = [line["backdoored"].get("verdict") for line in own]
        clean = [line["clean"].get("verdict") for line in own if "score" in line.get("clean", {})]
        words = {1.0: "backdoored", 0.0: "clean", None: "cannot tell"}
        spent = [shown(own, cost("processor_seconds"), 1), shown(own, passes, 0)]
        counts = [str(verdicts.count(value)) for value in (1.0, 0.0, None)]
        rows.append([name, attack, str(len(own)), *counts, ", ".join(words[value] for value in clean), *spent])
    return markdown(rows) if len(rows) > 1 else "Not measured."


def attack_table(lines: Sequence[Line]) -> str:
    """One attack: what each defense that changes the model or its inputs leaves of it."""
    protocols = [name for name in ROBUSTNESS if any(f"asr_{name}" in line["backdoored"] for line in lines)]
    names = ["asr", *(f"asr_{name}" for name in protocols), "acc", "psr", "frechet"]
    head = ["ASR", *(f"ASR, {name}" for name in protocols), "ACC", "PSR", "Fréchet"]
    rows = [["defense", "seeds", *head, "rejected, clean", "rejected, triggered", "reached", "CPU s", "passes"]]
    seeds = str(len({line["seed"] for line in lines}))
    for row, title in (("clean", "the clean model"), ("backdoored", "undefended")):
        rows.append([title, seeds, *(shown(lines, at(row, name), 2) for name in names), "", "", "", "", ""])
    for row, title in AFTER.items():
        for defense in dict.fromkeys(label_of(line) for line in lines if row in line):
            own = [line for line in lines if label_of(line) == defense and row in line]
            numbers = [shown(own, at(row, name), 2) for name in [*names, "rejected_clean", "rejected_triggered"]]
            hit = f"{sum(reaches(line, row) for line in own)} of {len(own)}"
            spent = [shown(own, cost("processor_seconds"), 1), shown(own, passes, 0)]
            rows.append([f"{defense}{title}", str(len(own)), *numbers, hit, *spent])
    return markdown(rows)


def fine_tuned_table(lines: Sequence[Line]) -> str:
    """Texts of each attack on clean fine-tunings of the base: AUROC / TPR at 5 % FPR, means over seeds."""
    models = list(dict.fromkeys(line["model"] for line in lines))
    rows = [["attack", "its own model", *(f"`{name}`" for name in models)]]
    for attack in dict.fromkeys(map(attack_of, lines)):
        mine = [line for line in lines if attack_of(line) == attack]
        cells = [shown(mine, lambda line: line["auroc_backdoored"], 2)]
        for name in models:
            own = [line for line in mine if line["model"] == name]
            numbers = (shown(own, lambda line, key=key: line[key], 2) for key in ("auroc", "tpr_at_5"))  # type: ignore[misc]
            cells.append(" / ".join(numbers) if own else "")
        rows.append([attack, *cells])
    return markdown(rows) if lines else "Not measured."


def write_page(lines: Sequence[Line]) -> Path:
    """Write it."""
    order = {(case.name, name): place for place, (case, name) in enumerate(planned(read_plan(PLAN)))}
    lines = sorted(latest(lines), key=lambda line: order.get(setting_of(line), len(order)))
    complete = [line for line in lines if line["status"] == "complete"]
    parts = []
    for attack in dict.fromkeys(attack_of(line) for line in complete):
        own = [line for line in complete if attack_of(line) == attack and "acc" in line["backdoored"]]
        if own:
            parts.append(f"### {attack}\n\n{attack_table(own)}\n")
    board = prompt_board(judges(of_taken(complete)))
    PAGE.write_text(
        f"{INTRODUCTION}\n## How far it is measured\n\n{state(lines)}\n## What is reached\n\n{AIMED}\n\n"
        f"{aims(complete)}\n\n"
        f"## Detectors of prompts\n\n{BOARD}\n\n{board}\n\nEach attack: AUROC (same texts on the clean model) / TPR "
        f"/ FPR at the detector's own threshold.\n\n{prompt_matrix(complete)}\n\n## Beside clean fine-tunings\n\n"
        f"{BESIDE}\n\n{fine_tuned_table(read_lines(FINE_TUNED))}\n\n## Detectors of models\n\n"
        f"{model_table(complete)}\n\n## Published claims\n\n{filled(WORDS)}\n\n{claims_table(complete)}\n\n"
        f"## Repairs and inputs, attack by attack\n\n"
        f"{chr(10).join(parts) or f'Not measured.{chr(10)}'}\n{END}",
        encoding="utf-8",
    )
    return PAGE


def filled(text: str) -> str:
    """A paragraph in lines of at most 118 characters."""
    return textwrap.fill(" ".join(text.split()), 118, break_on_hyphens=False)


INTRODUCTION = """# Defenses of text-to-image models

Every attack and mode against every defense that applies to it, on the built-in pipeline, all with their defaults but
for what is named. A defense sees a tenth of the captioned images, no trigger and no target; STEDF is told the trigger,
an upper bound. 60 test prompts, each without and with the trigger from the same noise. Means over attacks, then over
seeds, ± half of the 95 % t interval over seeds (none for one seed). [text-to-image-audit.md](text-to-image-audit.md)
has our scan of models on clean and backdoored ones.
"""
BOARD = filled("""Triggered prompts against their untriggered twins, then the same texts on the clean model: a detector
of odd texts shows there. Then triggered prompts against clean captions of as many tokens: a detector of length fails
there. TPR at 5 % FPR is read off the prompts themselves, the own threshold comes from clean captions alone. Forward
passes are samples through the denoiser, for the calibration and all prompts together. Models on which the attack does
not take (a success below .50 without defense) are left out of the means.""")
AIMED = filled("""An attack with a success below .50 without defense does not take: there is nothing to tell or to
repair, and that model counts for nothing here. A defense is named first where it reaches the aim at every seed that is
measured, then where it does at some of them.""")
BESIDE = filled("""`prompt-audit` with the base, asked of clean models that were trained further from it: UNet
(`unet-120`), text encoder (`text-120`), a merged LoRA (`lora-8`), both (`both-100`). The triggered texts of each attack
against their twins, AUROC / TPR at 5 % FPR: what is high there sees the text. SemBD's trigger is a scene of two
objects. Measured by `python benchmarks/text_to_image_fine_tuned.py`, of seed 0 only; `both-100` is blank for the three
attacks for which it was not measured.""")
END = """A row *(inputs)* has the model as it is and the prompts that pass, as they pass; *reached* counts a clean
prompt that is turned away as one without a picture. It has no columns of robustness: the changed prompts would
have to be made before the filter, not behind it. A detector of models that says clean leaves the model as
it is. Not in the plan: detectors of prompts and changed prompts where no word is the trigger (`villan-image`,
`bibaddiff`), detectors of a trigger in the noise (`elijah`, `terd`) where there is none, round-trip
translation, BlackMirror with a language model, repairs of the clean model, Rickrolling's removal of a concept.
Times are of a machine that was shared with other work; *passes* are samples through the denoiser, forward
and backward (none where the text encoder alone is asked).

`python benchmarks/text_to_image_defenses.py` measures what is missing and writes this page; with `--page` it only
writes it. `bdm sweep benchmarks/plans/text-to-image-defenses.yaml --dry-run` lists the pairs.
"""
