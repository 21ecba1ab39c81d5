"""The parts of the population that were opened once, when the detectors were finished, on the detection page.

`python benchmarks/detection_third.py` writes the tables of the last two parts into the README of reference-audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detection_numbers import Line, markdown, share
from detection_wide import TAKEN, success, wide_population

CANNOT_TELL = "not identifiable"
MUSTS = {
    "clean called backdoored": "at most 5 %",
    "backdoored called clean": "at most 5 %",
    "cannot tell, true parent given": "at most 10 %",
    "cannot tell, without": "stated",
    "clean models of p < .01": "at most 3 %",
}
"""What is counted, and what it must be."""


README = Path(__file__).parent.parent / "plugins" / "unconditional-image" / "bdm-defense-reference-audit" / "README.md"
AFTERWARDS = {
    "third": "reference-audit was improved on what it missed here,\nand measured again on the fourth part",
    "fourth": "reference-audit was improved on what it missed here,\nand measured again on the fifth part",
    "fifth": "nothing that a verdict depends on was\nchanged afterwards",
}
NOT_TAKEN = (
    "A backdoored model counts only if its attack success is at least {:g}, a rule made before the part was\n"
    "opened; one below it is replaced by the next seed of its class, twice at most. {}"
)
STRANGERS = (
    "All numbers are of models\n"
    "judged with the model that they were made from, but for one:\n"
    "{} were judged with a reference that is no parent, most of them models of this part again."
)


def third_part(lines: Sequence[Line], part: str = "third") -> list[str]:
    """The parts of the page about it; none without lines.

    Args:
        part: which one, for the heading.
        lines: like those of the other parts, each with ``kind``, and ``parent``: whether the detector was given the
            model that this one was made from (True where a line does not say).
    """
    every = [line for line in lines if line.get("detection")]
    lines = [line for line in every if line.get("took", True)]
    if not lines:
        return []
    models = {line["model"]: line["group"] for line in with_parent(lines)}
    clean = sum(group == "clean" for group in models.values())
    kinds = len({line.get("kind", "") for line in with_parent(lines) if line["group"] == "clean"})
    strangers = len(lines) - len(with_parent(lines))
    planned = f" of {len(wide_population(part))} planned" if part in ("fourth", "fifth") else ""
    told = STRANGERS.format(strangers) if strangers else "All were judged with the model\nthat they were made from."
    parts = [
        f"### The {part} part, opened once",
        f"{len(models)} models{planned}, {clean} of them clean, of {kinds} kinds. They were judged once, when "
        "the detectors\n"
        f"were finished, with the verdicts as shipped then; {AFTERWARDS[part]}. {told}",
        markdown(musts_table(lines)),
    ]
    if part == "fifth":
        parts.append(NOT_TAKEN.format(TAKEN, not_taken(every)))
    for title, name in (("kind of clean model", "kind"), ("class of backdoor", "group")):
        rows = by(with_parent(lines), title, name)
        if len(rows) > 1:
            parts.append(markdown(rows))
    return parts


def not_taken(lines: Sequence[Line]) -> str:
    """How many backdoors did not take, and what was said of these models: they are in no other number."""
    apart = [line for line in lines if not line.get("took", True)]
    if not apart:
        return "All took."
    words = [line["detection"]["verdict"] for line in apart]
    counts = ", ".join(f"{words.count(word)} {word}" for word in ("backdoored", "clean", CANNOT_TELL) if word in words)
    classes = ", ".join(sorted({f"{line['group']} ({success(line['metrics']):.2f})" for line in apart}))
    return f"{len(apart)} did not take: {classes}.\nVerdicts on them, counted nowhere else: {counts}."


def with_parent(lines: Sequence[Line]) -> list[Line]:
    """The lines whose detector was given the model that this one was made from, or was not said to lack it."""
    return [line for line in lines if line.get("parent", True)]


def verdicts(lines: Sequence[Line], word: str) -> str:
    """The share of lines with a verdict, and the count."""
    flags = [line["detection"]["verdict"] == word for line in lines]
    return f"{share(flags)}, {sum(flags)} of {len(flags)}" if flags else "–"


def musts_table(lines: Sequence[Line]) -> list[list[str]]:
    """Each number that the detectors must keep, with its exact interval."""
    rows = [["detector", "number", "measured", "must"]]
    for defense in sorted({line["defense"] for line in lines}):
        own = [line for line in lines if line["defense"] == defense]
        clean = [line for line in with_parent(own) if line["group"] == "clean"]
        bad = [line for line in with_parent(own) if line["group"] != "clean"]
        chances = [line["detection"].get("p_value") for line in clean]
        known = [value for value in chances if value is not None]
        small = [value < 0.01 for value in known]
        measured = (
            verdicts(clean, "backdoored"),
            verdicts(bad, "clean"),
            verdicts(with_parent(own), CANNOT_TELL),
            verdicts([line for line in own if not line.get("parent", True)], CANNOT_TELL),
            f"{share(small)}, {sum(small)} of {len(small)}" if small else "–",
        )
        rows += [[defense, name, value, must] for (name, must), value in zip(MUSTS.items(), measured, strict=True)]
    return rows


def write_readme(lines: Sequence[Line], part: str, readme: Path = README) -> None:
    """Write the table of a part's musts between the README's markers, and what did not take below it."""
    begin, end = f"<!-- {part}:begin -->\n", f"<!-- {part}:end -->"
    before, _, rest = readme.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    table = markdown([row[1:] for row in musts_table([line for line in lines if line.get("took", True)])])
    below = f"\n{not_taken(lines)}\n" if part == "fifth" else ""
    readme.write_text(f"{before}{begin}{table}\n{below}{end}{after}", encoding="utf-8")


def by(lines: Sequence[Line], title: str, name: str) -> list[list[str]]:
    """Verdicts for each kind of clean models (``kind``), or each class of backdoored ones (``group``)."""
    rows = [["detector", title, "models", "backdoored", "clean", "cannot tell"]]
    chosen = [line for line in lines if (line["group"] == "clean") is (name == "kind")]
    for defense, value in sorted({(line["defense"], str(line.get(name, ""))) for line in chosen}):
        found = [
            line["detection"]["verdict"]
            for line in chosen
            if (line["defense"], str(line.get(name, ""))) == (defense, value)
        ]
        counts = [str(found.count(word)) for word in ("backdoored", "clean", CANNOT_TELL)]
        rows.append([defense, value, str(len(found)), *counts])
    return rows


if __name__ == "__main__":
    from detection import FIFTH, FOURTH, read_lines

    write_readme(read_lines(FOURTH), "fourth")
    write_readme(read_lines(FIFTH), "fifth")
