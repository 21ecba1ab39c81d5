"""The section of each defense's README that says what it does in the pairs: written from the lines, like the page."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from classifier_pairs_coverage import hits, short, words
from classifier_pairs_models import backdoored, clean, judges, own, pairs_of, says, verdict
from classifier_pairs_numbers import (
    CONTROLS,
    STRONG,
    Number,
    acts,
    after,
    attack_of,
    before,
    counts,
    data_of,
    is_clean,
    of_attack,
    of_defense,
    shown,
    table,
)
from detection_numbers import area
from swept import Line

FOLDERS = Path(__file__).parents[1] / "plugins" / "classification"
TITLE = "## In the table of pairs"
SECTION = re.compile(rf"{TITLE}\n.*?(?=\n## |\Z)", re.DOTALL)
ATTACKS = ("badnets", "blended", "wanet", "sig")
"""Those of which a README has a row."""
NUMBERS: dict[str, Number] = {
    "ACC before": before("accuracy"),
    "ASR before": before("asr"),
    "ACC": after("accuracy"),
    "ASR": after("asr"),
    "clean rejected": after("rejected_clean"),
    "AUROC": before("auroc"),
    "TPR": before("tpr"),
    "FPR": before("fpr"),
}
UNPOISONED: dict[str, Number] = {
    name: (lambda line: None) if name in ("ASR before", "ASR", "AUROC", "TPR") else number
    for name, number in NUMBERS.items()
}
"""Of a model without a backdoor."""


def names_in(folder: Path) -> list[str]:
    """The defenses that a distribution registers."""
    groups = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("entry-points", {})
    return list(groups.get("bdm.defenses", {}))


def section(lines: Sequence[Line], names: Sequence[str]) -> str:
    """The section of a distribution; empty if none of its defenses is measured.

    Args:
        lines: complete ones.
        names: of its defenses.
    """
    parts = [text for name in names if (text := of_one(lines, name, named=len(names) > 1))]
    return "\n\n".join([TITLE, INTRODUCTION.strip(), *parts]) + "\n" if parts else ""


def of_one(lines: Sequence[Line], name: str, *, named: bool) -> str:
    """Means for the best known attacks, where it reaches its aim, and what it says of models."""
    mine = [line for line in of_defense(lines, name) if not is_clean(line)]
    if not mine or name in CONTROLS:
        return ""
    unpoisoned = [line for line in of_defense(lines, name) if is_clean(line) and acts(line)]
    rows = [["attack, data", "seeds", *NUMBERS]]
    for attack in dict.fromkeys(attack_of(line) for line in mine if line["attack"] in ATTACKS):
        here = of_attack(mine, attack)
        rows.append([attack, str(len(here)), *(shown(here, number) for number in NUMBERS.values())])
    for attack in dict.fromkeys(map(attack_of, unpoisoned)):
        here = of_attack(unpoisoned, attack)
        rows.append([attack, str(len(here)), *(shown(here, number) for number in UNPOISONED.values())])
    parts = [f"`{name}`:"] if named else []
    if any(map(acts, mine)):
        parts += [table(rows), words(reached(mine, name))]
    if name in judges(lines) and (text := judged(lines, name)):
        parts.append(words(text))
    return "\n\n".join(parts) if len(parts) > named else ""


def reached(lines: Sequence[Line], name: str) -> str:
    """On which attacks the aim is reached, in words."""
    found = hits(lines, name)
    always = [short(attack) for attack, (hit, seeds) in found.items() if hit == seeds]
    some = [f"{short(attack)} ({hit} of {seeds} seeds)" for attack, (hit, seeds) in found.items() if 0 < hit < seeds]
    if not found:
        return f"No attack that was measured has an ASR of {STRONG:.2f}."
    text = f"Of {len(found)} attacks and settings with an ASR of at least {STRONG:.2f} it reaches its aim in every "
    text += f"measured seed on {len(always)}{': ' if always else ''}{', '.join(always)}"
    return f"{text}; in some seeds on {', '.join(some)}." if some else f"{text}."


def judged(lines: Sequence[Line], name: str) -> str:
    """What a detector of models says of backdoored and of clean ones, in words."""
    texts = []
    for data in dict.fromkeys(data_of(line) for line in of_defense(lines, name)):
        here = own(lines, name, data)
        bad, good = backdoored(here), clean(here)
        if bad and good:
            said = says([line for line in here if counts(line)], "backdoored")
            texts.append(
                f"of {data} AUROC {area(pairs_of(bad, good))} over {len(bad)} backdoored and {len(good)} clean ones "
                f"({verdict(bad, good)}); of the backdoored it calls {said}"
            )
    return f"Models: {'. '.join(texts)} (backdoored / clean / cannot tell)." if texts else ""


def write_readmes(lines: Sequence[Line]) -> list[Path]:
    """Write the sections; returns the READMEs that have one.

    Args:
        lines: complete ones.
    """
    written = []
    for folder in sorted(FOLDERS.glob("bdm-defense-*")):
        readme = folder / "README.md"
        text = section(lines, names_in(folder))
        old = readme.read_text(encoding="utf-8")
        new = placed(old, text)
        if text:
            written.append(readme)
        if new != old:
            readme.write_text(new, encoding="utf-8")
    return written


def placed(readme: str, text: str) -> str:
    """A README with the section in the place of its former one, or before its deviations, or at its end.

    >>> placed("# A\\n\\n## Deviations\\n\\n- None.\\n", TITLE + "\\n\\nNew.\\n")
    '# A\\n\\n## In the table of pairs\\n\\nNew.\\n\\n## Deviations\\n\\n- None.\\n'
    """
    if SECTION.search(readme):
        return SECTION.sub(lambda found: text, readme, count=1).rstrip() + "\n"
    if not text:
        return readme
    before_it, mark, rest = readme.partition("## Deviations\n")
    return f"{before_it.rstrip()}\n\n{text}\n{mark}{rest}" if mark else f"{readme.rstrip()}\n\n{text}"


INTRODUCTION = """Defaults, means ± half of the 95 % t interval over seeds. What the aims are says the [page of all
pairs](../../../docs/benchmarks/classifier-pairs.md), which `python benchmarks/classifier_pairs.py --page` writes
together with this section.
"""
