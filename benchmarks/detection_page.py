"""The page of the detection benchmark: `python benchmarks/detection_page.py`.

Reads ``benchmarks/results/detection.jsonl`` and writes ``docs/benchmarks/detection.md``. Thresholds come from the clean
models of the calibration half alone; every number on the page is of the test half. Intervals of shares are exact.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detection import DETECTS, FIFTH, FOURTH, PAPER, REPAIRS, SECOND, THIRD, read_lines
from detection_numbers import Line, Pair, area, auroc, judged, limit_of, markdown, p_value_table, scored, share

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "detection.md"


def detection_table(lines: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Each detector over all classes of backdoor."""
    rows = [
        [
            "detector",
            "models",
            "accuracy",
            "TPR",
            "TNR",
            "AUROC",
            "judged at all",
            "AUROC of its start points",
            "accuracy as shipped",
            "s",
        ]
    ]
    for defense in sorted(DETECTS):
        limit = limit_of(lines, defense)
        test = scored(lines, defense, "test")
        pairs = [pair for _, pair in test]
        if not pairs:
            continue
        sure = [bool(line["detection"]["conclusive"]) for line, _ in test]
        starts = [(pair[0], line["start_only"]) for line, pair in test if line.get("start_only") is not None]
        rows.append(
            [
                defense,
                f"{sum(not p[0] for p in pairs)} + {sum(p[0] for p in pairs)}",
                *judged(pairs, limit),
                area(pairs),
                share(sure),
                f"{auroc(starts):.2f}" if starts else "–",
                shipped(test),
                f"{statistics.median(line['stages'].get('detection', 0) for line, _ in test):.0f}",
            ]
        )
    return rows


def shipped(test: Sequence[tuple[Line, Pair]]) -> str:
    """Share of models that the detector's own verdict is right on; "not identifiable" is wrong."""
    return share([line["detection"]["verdict"] == ("backdoored" if flag else "clean") for line, (flag, _) in test])


def second_population(lines: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> str:
    """The second population by the thresholds of the first one's calibration half, and what was missed there."""
    rows = [["detector", "models", "accuracy", "TPR", "TNR", "AUROC", "accuracy as shipped"]]
    missed = []
    for defense in sorted({line["defense"] for line in second}):
        limit = limit_of(lines, defense)
        test = scored(second, defense)
        pairs = [pair for _, pair in test]
        rows.append(
            [
                defense,
                f"{sum(not p[0] for p in pairs)} + {sum(p[0] for p in pairs)}",
                *judged(pairs, limit),
                area(pairs),
                shipped(test),
            ]
        )
        for line, (flag, score) in test:
            if flag != (score > limit):
                success = line["metrics"].get("backdoored: asr@0.05")
                missed.append(
                    f"- {defense}, {line['model']}: score {score:.2f}, threshold {limit:.2f}"
                    + (f", ASR {success:.2f}" if flag and success is not None else "")
                )
    return markdown(rows) + ("\n\nJudged wrongly:\n\n" + "\n".join(missed) if missed else "")


def input_table(lines: Sequence[dict[str, Any]]) -> list[list[str]]:
    """TPR, TNR and AUROC of the detectors of inputs, on inputs with and without the trigger, by class of backdoor."""
    rows = [["class of backdoor", "detector", "models", "TPR", "TNR", "AUROC"]]
    grouped: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for line in lines:
        if line.get("metrics", {}).get("backdoored: tpr") is not None:
            grouped[line["group"], line["defense"]].append(line["metrics"])
    for (group, defense), found in sorted(grouped.items()):
        passed = [item.get("backdoored: tnr", 1 - item.get("backdoored: fpr", 0.0)) for item in found]  # older records
        tpr, auroc = (statistics.mean(item[f"backdoored: {name}"] for item in found) for name in ("tpr", "auroc"))
        means = [tpr, statistics.mean(passed), auroc]
        rows.append([group, defense, str(len(found)), *(f"{value:.2f}" for value in means)])
    return rows


def group_table(lines: Sequence[dict[str, Any]]) -> list[list[str]]:
    """TPR at the detector's threshold, and the cosine of the recovered trigger, for each class of backdoor."""
    detectors = [name for name in sorted(DETECTS) if scored(lines, name, "test")]
    rows = [["class of backdoor", "models", *(f"{name}: TPR, cosine" for name in detectors)]]
    for group in sorted({line["group"] for line in lines} - {"clean"}):
        cells, count = [], 0
        for defense in detectors:
            limit = limit_of(lines, defense)
            own = [(line, pair) for line, pair in scored(lines, defense, "test") if line["group"] == group]
            count = max(count, len(own))
            cosines = [line["recovery"]["cosine"] for line, _ in own if line.get("recovery")]
            hit = share([pair[1] > limit for _, pair in own])
            cells.append(hit + (f", {statistics.mean(cosines):.2f}" if cosines else ""))
        rows.append([group, str(count), *cells])
    return rows


def repair_table(lines: Sequence[dict[str, Any]]) -> list[list[str]]:
    """ASR, SSIM and Frechet distance before and after each repair, by class of backdoor."""
    rows = [["class of backdoor", "repair", "models", "ASR", "after", "dSSIM", "Fréchet after : clean"]]
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        repaired = any(key.startswith("repaired: ") for key in line.get("metrics", ()))
        if line["defense"] in REPAIRS and line["group"] != "clean" and repaired:
            grouped[line["group"], line["defense"]].append(line["metrics"])
    for (group, defense), found in sorted(grouped.items()):

        def mean(row: str, name: str, found: Sequence[dict[str, Any]] = found) -> float:
            values = [
                value
                for item in found
                for key, value in item.items()
                if key.startswith(f"{row}: {name}") and value is not None
            ]
            return statistics.mean(values) if values else float("nan")

        rows.append(
            [
                group,
                defense,
                str(len(found)),
                f"{mean('backdoored', 'asr@0.05'):.2f}",
                f"{mean('repaired', 'asr@0.05'):.2f}",
                f"{mean('repaired', 'ssim') - mean('backdoored', 'ssim'):+.2f}",
                f"{mean('repaired', 'frechet') / mean('clean', 'frechet'):.2f}",
            ]
        )
    return rows


def sampler_table(lines: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Mean ASR of each class of backdoor under each sampler."""
    shares: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        for row in line["rows"]:
            shares[line["group"]][row["sampler"]].append(row["asr"])
    samplers = sorted({name for group in shares.values() for name in group})
    rows = [["class of backdoor", *samplers]]
    for group, found in sorted(shares.items()):
        rows.append([group, *(f"{statistics.mean(found[name]):.2f}" if found[name] else "–" for name in samplers)])
    return rows


FEW = 9
"""Of fewer clean models of a part nothing is said about the distribution of p-values."""


def clean_p_values() -> dict[str, list[float]]:
    """Detector -> its p-values of held-out clean models."""
    from detection_clean import p_values

    parts = [
        [line["detection"]["p_value"] for line in read_lines(file) if line["group"] == "clean" and line["parent"]]
        for file in (FIFTH, FOURTH, THIRD)
    ]
    own = next((values for values in parts if len(values) >= FEW), [])
    found = {name: p_values(name) for name in ("diff-cleanse", "elijah", "terd")}
    return found | {"reference-audit": [value for value in own if value is not None]}


def main() -> None:
    """Write the page. Exits with a message if there is nothing to write of."""
    from detection_claims import claims
    from detection_population import population
    from detection_third import third_part

    samplers = [line for line in read_lines() if line["defense"] == "samplers"]
    lines = [line for line in read_lines() if line["defense"] != "samplers"]
    models = {line["model"]: line["group"] for line in lines}
    if not models:
        raise SystemExit("nothing is measured yet: run `python benchmarks/detection.py` first")
    clean = sum(group == "clean" for group in models.values())
    errors = sorted({f"{line['defense']} on {line['base']}: {line['error']}" for line in lines if "error" in line})
    second = read_lines(SECOND)
    again = (
        [
            "### Again, on models that no detector was made with a view to",
            "reference-audit was made while its scores on the models above, of both halves, were looked at. When it "
            "was\nfinished it was run on a second population (`python benchmarks/detection.py --second --defenses\n"
            "reference-audit`): the same classes, other seeds, other combinations of trigger and target, poison rates "
            "of\n5 to 20 %. The threshold is that of the models above. Measured: "
            f"{len({line['model'] for line in second})} of {len(population(second=True))}.",
            second_population(lines, second),
        ]
        if second
        else []
    )
    parts = [
        "# Detection and repair over a population of small models",
        f"{len(models)} models, {clean} of them clean, of {len(population())} planned;\n"
        "`python benchmarks/detection.py` measures them, `python benchmarks/detection_page.py` writes this page.\n"
        "Thresholds are from the clean models of the calibration half, which at most 5 % of them exceed; the numbers\n"
        "are of the test half. Accuracy is the share of all its models that are judged rightly, TPR that of the\n"
        "backdoored ones, TNR that of the clean ones. In brackets: 95 % intervals, of shares by Clopper and Pearson\n"
        "(exact), of the AUROC by Newcombe's method 5 (2006), which is no point at 1 either. Models count as if drawn\n"
        "independently; those of one base and class are alike, so that in truth the intervals are wider.\n"
        "The lines of the first two populations were measured before the detectors knew what their calibration covers\n"
        "and before reference-audit's present score: they speak of the detectors as they were.",
        "## Detectors",
        markdown(detection_table(lines)),
        "### p-values",
        "A p-value is to be at least the chance of such a score on a clean model. It is a rank among the n clean\n"
        "models of the calibration, so that it is never below 1 / (1 + n). What the detectors as shipped now give to\n"
        "clean models of the test half, which no calibration holds, and which it covers: are these p-values smaller\n"
        "than uniform ones (one-sided Kolmogorov-Smirnov test, D+, 5 %)? Larger ones are no fault. That of\n"
        f"reference-audit is on clean models of its last part with {FEW} of them.\n"
        "`python benchmarks/detection_clean.py` measures what\n"
        "the lines lack.",
        markdown(p_value_table(clean_p_values())),
        *again,
        *third_part(read_lines(THIRD)),
        *third_part(read_lines(FOURTH), "fourth"),
        *third_part(read_lines(FIFTH), "fifth"),
        "## By class of backdoor",
        markdown(group_table(lines)),
        "## What the papers claim",
        claims(lines, read_lines(PAPER)),
        "## Detectors of inputs",
        "As shipped, so that both halves count: half of a backdoored model's inputs have the trigger.",
        markdown(input_table(lines)),
        "## Repairs",
        markdown(repair_table(lines)),
        "## Samplers",
        "Share of triggered samples that show the target.",
        markdown(sampler_table(samplers)),
    ]
    if errors:
        parts += ["## Not applicable", "\n".join(f"- {error}" for error in errors)]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n\n".join(parts) + "\n")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
