"""What happens to each class: a table for the report."""

from __future__ import annotations

from typing import Any

from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_metric_accuracy.said import Said


def by_class(names: list[str], rule: LabelRule, clean: Said, triggered: Said, before: Said | None) -> dict[str, Any]:
    """Counts and shares of each class that has samples, the one of the lowest clean accuracy first.

    Args:
        names: of the classes.
        rule: says what is a hit.
        clean: of the row.
        triggered: its eligible samples with the trigger.
        before: clean samples as the undefended model took them; None without one.

    Returns:
        ``head`` and ``rows`` of a table; a share is None where there is no sample.

    >>> rule = LabelRule(kind="all-to-one", classes=2, target=0)
    >>> by_class(["a", "b"], rule, Said([(0, 0, 1), (0, 1, 2)]), Said([(0, 1, 2)]), None)["rows"]
    [['b', 1, 0.0, 1, 1.0, 0.0], ['a', 1, 1.0, 0, None, None]]
    """
    rows: list[list[Any]] = []
    for label, name in enumerate(names):
        own, hit = clean.of_class(label), triggered.of_class(label)
        if len(own) or len(hit):
            row = [
                name,
                len(own),
                _share(own.right, own),
                len(hit),
                _share(hit.hits(rule), hit),
                _share(hit.right, hit),
            ]
            rows.append(row + ([_share((old := before.of_class(label)).right, old)] if before is not None else []))
    rows.sort(key=lambda row: 2.0 if row[2] is None else row[2])
    head = ["class", "clean samples", "ACC", "triggered samples", "ASR", "R-Acc"]
    return {"head": head + (["ACC undefended"] if before is not None else []), "rows": rows}


def _share(hits: int, said: Said) -> float | None:
    return round(hits / len(said), 4) if len(said) else None
