"""The page of the detection benchmark: `python benchmarks/detection_page.py`.

Reads ``benchmarks/results/detection.jsonl`` and writes ``docs/benchmarks/detection.md``. Thresholds come from the clean
models of the calibration half alone; every number on the page is of the test half, with 95 % bootstrap intervals.
"""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detection import DETECTS, REPAIRS, SECOND, read_lines

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "detection.md"
FALSE_POSITIVES = 0.05
DRAWS = 1000
Pair = tuple[bool, float]
"""(backdoored, score)."""


def auroc(pairs: Sequence[Pair]) -> float:
    """Probability that a backdoored model scores higher than a clean one; ties count half."""
    bad = [score for flag, score in pairs if flag]
    good = [score for flag, score in pairs if not flag]
    wins = sum((one > other) + 0.5 * (one == other) for one in bad for other in good)
    return wins / (len(bad) * len(good)) if bad and good else float("nan")


def threshold(clean: Sequence[float], rate: float = FALSE_POSITIVES) -> float:
    """The least score that at most ``rate`` of the clean calibration models exceed."""
    ordered = sorted(clean)
    return ordered[max(0, len(ordered) - 1 - int(rate * len(ordered)))] if ordered else float("inf")


def rates(pairs: Sequence[Pair], limit: float) -> tuple[float, float, float]:
    """Accuracy, with both kinds of models of equal weight, TPR and FPR at a threshold."""
    bad = [score > limit for flag, score in pairs if flag]
    good = [score > limit for flag, score in pairs if not flag]
    hit = sum(bad) / len(bad) if bad else float("nan")
    false = sum(good) / len(good) if good else float("nan")
    return (hit + 1 - false) / 2, hit, false


def interval(pairs: Sequence[Pair], value: Callable[[Sequence[Pair]], float]) -> str:
    """A value with its 95 % bootstrap interval, resampled within clean and backdoored models."""
    draw = random.Random(0)
    bad, good = [pair for pair in pairs if pair[0]], [pair for pair in pairs if not pair[0]]
    if not bad or not good:
        return "–"
    found = sorted(value(draw.choices(bad, k=len(bad)) + draw.choices(good, k=len(good))) for _ in range(DRAWS))
    return f"{value(pairs):.2f} ({found[int(0.025 * DRAWS)]:.2f} to {found[int(0.975 * DRAWS)]:.2f})"


def scored(lines: Sequence[dict[str, Any]], defense: str, half: str) -> list[tuple[dict[str, Any], Pair]]:
    """Lines of one detector and half with their score."""
    found = []
    for line in lines:
        detection = line.get("detection")
        if line["defense"] == defense and line["half"] == half and detection and detection["score"] is not None:
            found.append((line, (line["group"] != "clean", float(detection["score"]))))
    return found


def detection_table(lines: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Each detector over all classes of backdoor."""
    rows = [
        [
            "detector",
            "models",
            "accuracy",
            "AUROC",
            "TPR at 5 % FPR",
            "judged at all",
            "AUROC of its start points",
            "accuracy as shipped",
            "s",
        ]
    ]
    for defense in sorted(DETECTS):
        limit = threshold([pair[1] for _, pair in scored(lines, defense, "calibration") if not pair[0]])
        test = scored(lines, defense, "test")
        pairs = [pair for _, pair in test]
        if not pairs:
            continue
        sure = statistics.mean(bool(line["detection"]["conclusive"]) for line, _ in test)
        starts = [(pair[0], line["start_only"]) for line, pair in test if line.get("start_only") is not None]
        rows.append(
            [
                defense,
                f"{sum(not p[0] for p in pairs)} + {sum(p[0] for p in pairs)}",
                interval(pairs, lambda some, limit=limit: rates(some, limit)[0]),
                interval(pairs, auroc),
                interval(pairs, lambda some, limit=limit: rates(some, limit)[1]),
                f"{sure:.2f}",
                f"{auroc(starts):.2f}" if starts else "–",
                f"{shipped(test):.2f}",
                f"{statistics.median(line['stages'].get('detection', 0) for line, _ in test):.0f}",
            ]
        )
    return rows


def shipped(test: Sequence[tuple[dict[str, Any], Pair]]) -> float:
    """Accuracy of the detector's own verdicts, clean and backdoored weighing alike; "not identifiable" is wrong."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for line, (flag, _) in test:
        right[flag].append(line["detection"]["verdict"] == ("backdoored" if flag else "clean"))
    return statistics.mean(statistics.mean(hits) if hits else float("nan") for hits in right.values())


def second_population(lines: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> str:
    """The second population by the thresholds of the first one's calibration half, and what was missed there."""
    rows = [["detector", "models", "accuracy", "AUROC", "TPR at 5 % FPR", "accuracy as shipped"]]
    missed = []
    for defense in sorted({line["defense"] for line in second}):
        limit = threshold([pair[1] for _, pair in scored(lines, defense, "calibration") if not pair[0]])
        test = [item for half in ("calibration", "test") for item in scored(second, defense, half)]
        pairs = [pair for _, pair in test]
        rows.append(
            [
                defense,
                f"{sum(not p[0] for p in pairs)} + {sum(p[0] for p in pairs)}",
                interval(pairs, lambda some, limit=limit: rates(some, limit)[0]),
                interval(pairs, auroc),
                interval(pairs, lambda some, limit=limit: rates(some, limit)[1]),
                f"{shipped(test):.2f}",
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
            limit = threshold([pair[1] for _, pair in scored(lines, defense, "calibration") if not pair[0]])
            own = [(line, pair) for line, pair in scored(lines, defense, "test") if line["group"] == group]
            count = max(count, len(own))
            cosines = [line["recovery"]["cosine"] for line, _ in own if line.get("recovery")]
            hit = statistics.mean(pair[1] > limit for _, pair in own) if own else float("nan")
            cells.append(f"{hit:.2f}" + (f", {statistics.mean(cosines):.2f}" if cosines else ""))
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


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def main() -> None:
    """Write the page. Exits with a message if there is nothing to write of."""
    from detection_claims import claims
    from detection_population import population

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
        "Thresholds are from the clean models of the calibration half; the numbers are of the test half, with 95 %\n"
        "intervals.",
        "## Detectors",
        markdown(detection_table(lines)),
        *again,
        "## By class of backdoor",
        markdown(group_table(lines)),
        "## What the papers claim",
        claims(lines),
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
