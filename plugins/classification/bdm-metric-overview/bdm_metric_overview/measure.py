"""Confusion with and without the trigger, damage by class, a radar, and what the network is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_classification.matrix_picture import draw_matrix
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_metric_overview.params import OverviewParams
from bdm_metric_overview.said import Said
from bdm_metric_overview.structure import drawn, layers_of, table
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import keep_arrays, keep_pictures

LARGEST_MATRIX = 12
"""Of more classes the matrix is drawn without numbers."""


def measure(ctx: Context, params: OverviewParams, subject: Subject) -> list[Measurement]:
    """Accuracy of the worst class, its damage by a defense, and the confidence in the attacker's class."""
    rule = open_secret(subject.secret).rule
    clean, triggered = Said.of(subject.on_clean), Said.of(subject.on_triggered, rule)
    before = None
    if len(subject.before) == 2:
        before = (Said.of(subject.before[0]), Said.of(subject.before[1], rule))
    names: Any = subject.on_clean.meta["classes"]
    names = [str(name) for name in names]
    show_confusion(ctx, names, {"clean": clean, "triggered, eligible rows": triggered})
    show_radar(ctx, rule, (clean, triggered), before)
    if subject.role in ("clean", "repaired"):
        show_structure(ctx, params, subject)
    found = [
        Measurement(
            metric="worst_class_accuracy",
            value=worst(clean),
            on="clean",
            higher_is_better=True,
            n=len(clean),
            share=True,
            label="ACC of the worst class",
            description="Accuracy of the class with the lowest accuracy on clean rows, in [0, 1].",
        ),
        Measurement(
            metric="target_confidence",
            value=triggered.confidence(rule),
            on="triggered",
            higher_is_better=False,
            n=len(triggered),
            share=True,
            label="Confidence in the attacker's class",
            description="Mean probability of the attacker's class (of any wrong one if untargeted) for triggered "
            "eligible rows, in [0, 1].",
        ),
    ]
    if before is not None:
        damage = damages(before[0], clean)
        show_damage(ctx, names, damage)
        found.append(
            Measurement(
                metric="worst_class_damage",
                value=max(damage.values(), default=None),
                on="clean",
                higher_is_better=False,
                n=len(clean),
                label="Damage of the worst class",
                description="Largest loss of a class's accuracy against the undefended model, in [-1, 1].",
            )
        )
    return found


def worst(said: Said) -> float | None:
    """The lowest accuracy of a class; None without rows."""
    values = [said.accuracy_of(int(label)) for label in said.labels.unique()]
    return min((value for value in values if value is not None), default=None)


def damages(before: Said, after: Said) -> dict[int, float]:
    """Class -> accuracy that it lost, for classes that have rows in both."""
    found = {}
    for label in sorted({int(label) for label in before.labels}):
        was, now = before.accuracy_of(label), after.accuracy_of(label)
        if was is not None and now is not None:
            found[label] = was - now
    return found


def show_confusion(ctx: Context, names: list[str], both: dict[str, Said]) -> None:
    """A matrix for each."""
    pictures = []
    for title, said in both.items():
        if not len(said):
            continue
        counts = said.confusion.numpy()
        keep_arrays(ctx, {f"confusion, {title}": counts})
        if len(counts) > LARGEST_MATRIX:
            pictures.append((title, charts.heat_map(counts, max(1, 480 // len(counts)))))
            continue
        ctx.work.mkdir(parents=True, exist_ok=True)
        file = draw_matrix(Path(ctx.work) / "confusion.png", counts, names)
        with Image.open(file) as picture:
            pictures.append((title, picture.copy()))
        file.unlink()
    if pictures:
        keep_pictures(ctx, "Confusion matrix", "True classes down, predicted across.", pictures)


def show_damage(ctx: Context, names: list[str], damage: dict[int, float]) -> None:
    """A table and bars, the most damaged class first."""
    order = sorted(damage, key=lambda label: -damage[label])
    rows: list[list[Any]] = [[names[label], damage[label]] for label in order]
    ctx.figures(tables={"damage by class": {"head": ["class", "lost accuracy"], "rows": rows}})
    keep_arrays(ctx, {"lost accuracy by class": [damage.get(label, float("nan")) for label in range(len(names))]})
    if order:
        picture = charts.bars([damage[label] for label in order], ("class, the most damaged first", "lost accuracy"))
        keep_pictures(ctx, "Damage by class", "Accuracy that each class lost by the defense.", [("", picture)])


def show_radar(ctx: Context, rule: LabelRule, now: tuple[Said, Said], before: tuple[Said, Said] | None) -> None:
    """Five numbers, all better the further out; those of the undefended model faint."""
    numbers = spokes(rule, *now)
    if numbers is None:
        return
    keep_arrays(ctx, {"radar": list(numbers.values())})
    old = spokes(rule, *before) if before is not None else None
    caption = "The further out the better; grey: the undefended model."
    keep_pictures(ctx, "Radar", caption, [("", charts.radar(numbers, old))])


def spokes(rule: LabelRule, clean: Said, triggered: Said) -> dict[str, float] | None:
    """None if one of the numbers is undefined."""
    asr, sure, lowest = triggered.success(rule), triggered.confidence(rule), worst(clean)
    acc, recovered = clean.accuracy, triggered.accuracy
    if asr is None or sure is None or lowest is None or acc is None or recovered is None:
        return None
    return {
        "ACC": acc,
        "worst class": lowest,
        "R-Acc": recovered,
        "1 - ASR": 1 - asr,
        "1 - confidence": 1 - sure,
    }


def show_structure(ctx: Context, params: OverviewParams, subject: Subject) -> None:
    """The layers of the model."""
    shape: Any = subject.model.meta["shape"]
    layers = layers_of(load_classifier(subject.model, ctx.device), tuple(shape))
    ctx.figures(tables={"structure of the network": table(layers, params.layers)})
    caption = "A block for each layer with weights, as high as its maps; below it units and side of the maps."
    keep_pictures(ctx, "Structure of the network", caption, [("", drawn(layers))])
