"""The page of the audit of text-to-image models: `python benchmarks/text_to_image_audit_page.py`.

Reads ``text_to_image_audit.jsonl`` of ``benchmarks/results`` and writes ``docs/benchmarks/text-to-image-audit.md``.
Verdicts follow from the features and the calibrations that the plugin ships; intervals of shares are exact.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detection_numbers import area, markdown, share
from text_to_image_audit import BACKDOORED, read_lines

from bdm_defense_text_to_image_audit.audit import EDITS
from bdm_defense_text_to_image_audit.detection import (
    AGAINST_BASE,
    ALL_FEATURES,
    CALIBRATED,
    FEATURES,
    p_value_of,
    searched_score,
    standardised,
    threshold_of,
)

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "text-to-image-audit.md"
RATE = 0.05
CLEAN = ("test", "further", "last")
"""Parts of clean models that are not in the calibration."""
FURTHER_MODES = ("badt2i-pixel", "badt2i-object-add")
"""Backdoored models for which nothing was asked."""
Line = dict[str, Any]


def score_of(line: Line, *, base: bool) -> float:
    """The largest of the searches, standardised by the clean models of the calibration."""
    return searched_score(standing(line, base=base))


def standing(line: Line, *, base: bool) -> list[float]:
    """All features, standardised."""
    return standardised(values_of(line, base=base), known(base=base))


def values_of(line: Line, *, base: bool) -> list[float]:
    """The features as they are."""
    return [line["features"][name] for name in (ALL_FEATURES if base else FEATURES)]


def known(*, base: bool) -> list[list[float]]:
    """The features of the calibration's clean models."""
    return (AGAINST_BASE if base else CALIBRATED).read().clean()


def verdict(line: Line, *, base: bool) -> str:
    """As the plugin gives it."""
    clean, stands = known(base=base), standing(line, base=base)
    threshold = threshold_of(len(clean), len(stands), RATE)
    named = dict(zip(ALL_FEATURES, stands, strict=False))
    if line.get("unseen"):
        return "cannot tell"
    if searched_score(stands) > threshold:
        return "backdoored"
    if any(named.get(name, 0.0) > threshold for name in EDITS):
        return "edited"
    if line.get("learnt") or p_value_of(values_of(line, base=base), clean) <= RATE:
        return "cannot tell"
    return "clean"


def attack_of(line: Line) -> str:
    """The attack of a backdoored model."""
    return str(line["model"]).rpartition("-")[0]


def verdict_table(lines: Sequence[Line], part: str) -> str:
    """Each model of a part: features, verdicts, and what was shown; of attackers who know the audit ASR and ACC."""
    rates = ("asr", "acc") if part == BACKDOORED[1] else ()
    rows = [["model", *ALL_FEATURES, "verdict", "with the base", "first trigger", "works", *map(str.upper, rates)]]
    for line in (line for line in lines if line["part"] == part):
        works = line.get("works")
        rows.append(
            [
                line["model"],
                *(f"{line['features'][name]:.2f}" if name in line["features"] else "" for name in ALL_FEATURES),
                verdict(line, base=False),
                verdict(line, base=True) if line["features"].keys() >= OF_BASE else "",
                visible(line["triggers"][0]) if line["triggers"] and verdict(line, base=False) == "backdoored" else "",
                "" if works is None else str(works["rank"] or "none"),
                *(f"{line[rate]:.2f}" if rate in line else "" for rate in rates),
            ]
        )
    return markdown(rows)


def beside_table(lines: Sequence[Line]) -> str:
    """What is reported beside the verdict: the first word by the text encoder, and the spectrum of the change."""
    rows = [["part", "model", "first word", "its value", "rank", "first direction", "change", "tensors"]]
    known = [line for line in lines if line.keys() >= {"words", "low_rank"}]
    for line in sorted(known, key=lambda line: ([*CLEAN, "apart", *BACKDOORED].index(line["part"]), line["model"])):
        (word, value), change = next(iter(line["words"].items())), line["low_rank"]
        spectrum = [str(change["rank"]), f"{change['first']:.2f}", f"{change['relative']:.2f}"]
        tensors = f"{change['changed']} of {change['tensors']}"
        rows.append([line["part"], line["model"], visible(word), f"{value:.2f}", *spectrum, tensors])
    return markdown(rows)


OF_BASE = set(ALL_FEATURES) - set(FEATURES)


def visible(text: str) -> str:
    """A trigger without characters that nobody sees."""
    shown = "".join(letter if letter.isprintable() else "" for letter in text).replace("|", "\\|").strip()
    return shown if len(shown) < 60 else shown[:57] + "..."


def summary(lines: Sequence[Line]) -> str:
    """What must be reached beside what was."""
    test, further, last = ([line for line in lines if line["part"] == part] for part in CLEAN)
    clean = [*test, *further, *last]
    apart = [line for line in lines if line["part"] == "apart"]
    bad = [line for line in lines if line["part"] == "backdoored"]
    rows = [["", "must", "without a base", "with the base"]]

    def flags(some: Sequence[Line], wanted: str) -> list[str]:
        with_base = [line for line in some if line["features"].keys() >= OF_BASE]
        return [
            share([verdict(line, base=base) == wanted for line in own]) + f", {len(own)} models"
            for base, own in ((False, some), (True, with_base))
        ]

    for title, own in (("clean models", test), ("further clean models", further), ("last clean models", last)):
        rows.append([f"{title}, called backdoored", "0", *flags(own, "backdoored")])
        rows.append(["the same, called clean", "", *flags(own, "clean")])
    rows.append(["harmless edits and tokens, called backdoored", "0", *flags(apart, "backdoored")])
    for title, own, musts in (
        (
            "backdoored models",
            [line for line in bad if attack_of(line) not in FURTHER_MODES],
            ("at least .85", "at least .70"),
        ),
        ("BadT2I's further modes", [line for line in bad if attack_of(line) in FURTHER_MODES], ("", "")),
    ):
        rows.append([f"{title}, called so", musts[0], *flags(own, "backdoored")])
        works = share([line["works"]["rank"] > 0 for line in own]) + f", {len(own)} models"
        rows.append(["the same, a trigger that works among the first ten", musts[1], works, ""])
    areas = [area([(line["part"] == "backdoored", score_of(line, base=False)) for line in [*clean, *bad]])]
    full = [line for line in [*clean, *bad] if line["features"].keys() >= OF_BASE]
    areas.append(area([(line["part"] == "backdoored", score_of(line, base=True)) for line in full]))
    rows.append(["AUROC beside the clean models", "", *areas])
    return markdown(rows)


def by_attack(lines: Sequence[Line]) -> str:
    """AUROC of each attack's models beside the clean ones."""
    clean = [line for line in lines if line["part"] in CLEAN]
    rows = [["attack", "models", "AUROC without a base", "AUROC with the base"]]
    for attack in dict.fromkeys(attack_of(line) for line in lines if line["part"] == "backdoored"):
        own = [line for line in lines if line["part"] == "backdoored" and attack_of(line) == attack]
        full = [line for line in [*clean, *own] if line["features"].keys() >= OF_BASE]
        cells = [
            area([(line["part"] == "backdoored", score_of(line, base=base)) for line in some])
            for base, some in ((False, [*clean, *own]), (True, full))
        ]
        rows.append([attack, str(len(own)), *cells])
    return markdown(rows)


def costs(lines: Sequence[Line]) -> str:
    """Processor seconds of the searches, the median and the most over all models."""
    spent = [line["cpu_seconds"] for line in lines if line.get("cpu_seconds")]
    names = dict.fromkeys(name for own in spent for name in own if name != "rest")
    rows = [["search", "median", "most", "aim"]]
    aims = {"spike": "5", "characters": "60"}
    for name in names:
        values = [own[name] for own in spent if name in own]
        rows.append([name, f"{statistics.median(values):.1f}", f"{max(values):.1f}", aims.get(name, "")])
    whole = [sum(own.values()) for own in spent]
    if whole:
        rows.append(["all, with the base", f"{statistics.median(whole):.1f}", f"{max(whole):.1f}", "360"])
    return markdown(rows)


def page() -> str:
    """The text of the page."""
    lines = read_lines()
    parts = [("Clean models", "test"), ("Further clean models", "further"), ("Last clean models", "last")]
    parts += [("Harmless edits and tokens", "apart")]
    parts += [("Backdoored models", "backdoored"), ("Attackers who know the audit", BACKDOORED[1])]
    text = [INTRODUCTION, "## What is reached\n", summary(lines), "\n## Attack by attack\n", by_attack(lines)]
    for title, part in parts:
        text += [f"\n## {title}\n", verdict_table(lines, part) if any(x["part"] == part for x in lines) else "None."]
    text += ["\n## Beside the verdict\n", BESIDE, beside_table(lines)]
    text += ["\n## Processor seconds of a scan, one core\n", costs(lines)]
    return "\n".join([*text, END])


INTRODUCTION = """# The audit of text-to-image models

`text-to-image-audit`, our own scan of models, on the built-in pipeline. The calibrations that it ships hold ten clean
models. Spike, odd characters, collapse, reading and answers are logarithms, the edit a cosine, the look deviations
between captions, changed objects a number of pairs; the plugin's README says what they are. *Works* is the rank of the
first of at most ten triggers under which at least half of 24 test prompts give the attack's target. In brackets are
exact 95 % intervals. Of attackers who know the audit, *ASR* is that of 48 triggered test prompts (EvilEdit: of the 15
that name a circle), *ACC* that of 48 clean ones, measured when the model was made (`text_to_image_adaptive.py`).
"""
BESIDE = """What the audit reports and its verdict does not use. *First word*: of rare words and adjectives, before the
object, the one that leaves the least of the variance of text embeddings over captions; its *value* is the negative
logarithm of what is left. *Rank*: so many directions have 90 % of the energy of what changed in keys and values against
the base, *first direction* the share of the largest, *change* the norm over that of the base's; *tensors* of the UNet
that differ. Both were measured afterwards on the same models (`text_to_image_audit.py --complete`), but for one,
BadT2I's added object, that was gone.

Words find TPA only (1.26 and 1.43); TAA has .35 and .17, clean models and all others at most .19. TPA that was trained
on against it has .07.
Edits in closed form change 14 tensors, in 2 to 11 directions, the harmless ones as well; a LoRA 56 tensors: Villan's
have .27 and .29 in one direction, the clean ones at most .11. BadT2I is no low rank (22 to 29, clean trainings of the
UNet 24 to 27), its modes have .14 to .26 in the first direction, clean trainings at most .12.
"""
END = """
What was set when. Spike, characters, collapse and changed objects, their floors, and the comparison with a base were
set on seed 0 of the attacks on objects and on a calibration of seven models; the *clean models* were opened after
that. BadT2I's style and pixel modes were called clean then, and PaaS with seed 1, whose one token changes one object.
For them came the look of pictures, an added token's objects count twice, and three more models in the calibration;
nine seeds must agree since then, five before, and words like "beside" are no candidates. Then the *further clean
models* were opened, and all were called clean.

**That was not true of every scan.** Calibration and both clean parts had been scanned with the same captions in the
same order, a `bdm scan` draws them by its seed. A colleague who looked at it anew scanned pruned-20 and pruned-10 by
the command line: both were called backdoored, for a changed look of .58 to .72 (twelve captions, the largest of some
hundred candidates: chance). And the pixel mode had been "told" by a phrase that changes the look of clean models as
well. Since then every model, of the calibration too, has captions and noise of its own; the look is looked at again
with 48 further captions, and repeated invisible characters are tried for it, which show style and pixel mode by the
trigger itself. All models of this page were made and scanned anew after that; style and pixel mode, seed 0, and both
pruned models had been looked at while the second look was made. Nothing was changed since. Then the eight *last clean
models*, of trainings, ranks and shares that no other part has, were made and opened once: all are called clean.

Half-precision and 8-bits hardly differ from the built-in pipeline, which is in the calibration. When they were opened,
both harmless edits were called backdoored with the base, for what they change in the answers; since then changed
answers alone show an edit and no trigger: these two are no test of that rule.

Attacks of other seeds have the triggers of seed 0, which are among the candidates: they test chance, not other
triggers.

`benchmarks/text_to_image_population.py` makes the models, `benchmarks/text_to_image_audit.py` scans them, and
`benchmarks/text_to_image_audit_page.py` writes this page. Repairs are in
[text-to-image-defenses.md](text-to-image-defenses.md), among those of all defenses.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
