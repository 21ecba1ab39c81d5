"""The head of the report: the verdict with its scale, what became of the attack, and what the run was."""

from __future__ import annotations

from typing import Any

from bdm_cli import verdict_words
from bdm_cli.html import charts, detectors, numbers
from bdm_cli.html.headline import headline, stage_of
from bdm_cli.html.markup import Child, Html, tag
from bdm_cli.html.material import Material, mapping, shown_name
from bdm_cli.html.table import DIRECTIONS

ROLE = {"clean": "the clean model", "backdoored": "the backdoored model", "repaired": "the repaired model"}
DEFENSES = {"detect": "Detection", "purify": "Purification", "repair": "Repair"}
"""Fields of the specification that name a defense."""
LATER = {"purified": "with purified inputs", "repaired": "after the repair"}


def section(material: Material) -> Html:
    """Everything above the result table."""
    record = material.record
    return tag(
        "header",
        tag("p", "bdm report", tag("span", record.get("run") or material.run.folder.name), class_="eyebrow"),
        _status(record),
        _verdict(material),
        _success(material),
        _utility(material),
        _facts(material),
    )


def title(material: Material) -> str:
    """The page's title."""
    judged = list(material.verdicts().items())
    text = headline(material, *judged[0]).text if judged else str(material.record.get("status") or "run")
    if judged and material.is_scan():
        text = detectors.word(material.run.verdict)
    return f"{text}: {what(material.spec())} (bdm report)"


def _verdict(material: Material) -> Child:
    judged = list(material.verdicts().items())
    if not judged:
        return _none(material)
    if material.is_scan():
        return detectors.head(material)
    return [_main(material, *judged[0]), *[_other(material, role, facts) for role, facts in judged[1:]]]


def what(spec: dict[str, Any]) -> str:
    """The run in a few words, e.g. ``villan against elijah``."""
    attack = spec.get("attack")
    defense = " and ".join(dict.fromkeys(str(spec[key]) for key in DEFENSES if spec.get(key)))
    if not attack:
        return f"scan of {spec['model']}" if spec.get("model") else "scan"
    return f"{attack} against {defense}" if defense else str(attack)


def _status(record: dict[str, Any]) -> Html | None:
    status = str(record.get("status") or "")
    if status == "failed":
        reason = record.get("error") or "no reason was recorded"
        if isinstance(reason, dict):
            reason = reason.get("message") or reason
        return tag("p", tag("strong", "This run failed. "), str(reason), class_="banner failed", role="alert")
    if status == "running":
        text = "It was not finished when this page was written; the same command continues it."
        return tag("p", tag("strong", "This run is incomplete. "), text, class_="banner")
    return None


def _main(material: Material, role: str, facts: dict[str, Any]) -> Html:
    said = headline(material, role, facts)
    threshold, score = numbers.finite(facts.get("threshold")), numbers.finite(facts.get("score"))
    detection = material.detection(stage_of(role))
    scores = [value for value in detection.scores if numbers.finite(value) is not None] if detection else []
    if len(scores) < 2 and score is not None:
        scores = [score]
    sentence: list[Child] = [
        tag("b", str(material.spec().get("detect") or "The detector")),
        f" on {ROLE.get(role, f'the {role} model')}",
    ]
    if (p_value := numbers.finite(verdict_words.p_value(facts))) is not None:
        sentence.append(f", {numbers.p_value(p_value)}")
    if detection and detection.clean_samples:
        sentence.append(f", from {detection.clean_samples} clean samples")
    sentence.append(f": {said.meaning}" if said.meaning else None)
    note = str(facts.get("note") or "")
    return tag(
        "div",
        tag("h1", said.text),
        tag("p", sentence, ".", class_="lead"),
        charts.scale(scores[:2000], threshold) if scores and threshold is not None else None,
        tag("p", note, class_="note") if note else None,
        class_=f"verdict {said.style}",
    )


def _none(material: Material) -> Html:
    reason = "No detector has judged a model in this run."
    return tag("div", tag("h1", "No verdict"), tag("p", reason, class_="lead"), class_="verdict open")


def _other(material: Material, role: str, facts: dict[str, Any]) -> Html:
    said = headline(material, role, facts)
    details = [f"score {numbers.number(facts.get('score'))}"] if facts.get("score") is not None else []
    details.append(f"threshold {numbers.number(facts.get('threshold'))}")
    if (p_value := numbers.finite(verdict_words.p_value(facts))) is not None:
        details.append(numbers.p_value(p_value))
    return tag(
        "p",
        f"{material.spec().get('detect') or 'The same detector'} on {ROLE.get(role, f'the {role} model')}: ",
        tag("b", said.text[:1].lower() + said.text[1:], class_=said.style),
        f" ({', '.join(details)}).",
    )


def _success(material: Material) -> Html | None:
    """One sentence on attack success, of the first metric that measures it."""
    line, values = _first(material, "attack-success")
    if line is None or "backdoored" not in values:
        return None
    text: list[Child] = [
        "Under the trigger, the attack succeeds on ",
        tag("b", values["backdoored"]),
        " of the inputs of the backdoored model",
        *_compared(values, "clean under trigger"),
    ]
    return tag("p", text, ".", tag("span", f" Measured as {shown_name(line)}.", class_="faint"))


def _utility(material: Material) -> Html | None:
    """One sentence on how well the models do their task, of the first metric that measures it."""
    line, values = _first(material, "utility")
    if line is None or "backdoored" not in values:
        return None
    better = {True: DIRECTIONS["↑"], False: DIRECTIONS["↓"]}.get(line.get("higher_is_better"))  # type: ignore[arg-type]
    text: list[Child] = [
        f"Utility, {shown_name(line)}: ",
        tag("b", values["backdoored"]),
        " for the backdoored model",
        *_compared(values, "clean"),
    ]
    return tag("p", text, ".", tag("span", f" {better.capitalize()}.", class_="faint") if better else None)


def _compared(values: dict[str, str], clean: str) -> list[Child]:
    """The rest of a sentence about the backdoored model: the clean one, and what defenses made of it."""
    parts: list[Child] = [f" (clean model: {values[clean]})"] if clean in values else []
    for row, words in LATER.items():
        if row in values:
            parts += [f"; {words}, ", tag("b", values[row])]
    return parts


def _first(material: Material, measures: str) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The first metric that measures this, as a line of it and its values by row, in words."""
    lines = [line for line in material.results() if line.get("measures") == measures]
    first = next((line for line in lines if numbers.finite(line.get("value")) is not None), None)
    values: dict[str, str] = {}
    for line in lines:
        value = numbers.finite(line.get("value"))
        if first is not None and line.get("metric") == first.get("metric") and value is not None:
            text = numbers.percent(value) if line.get("share") is True else numbers.number(value)
            values.setdefault(str(line.get("row")), text)
    return first, values


def _facts(material: Material) -> Html:
    record, spec = material.record, material.spec()
    builtin = "built in"
    pairs: list[tuple[str, Child]] = [
        ("Attack", spec.get("attack")),
        *[(name, _defense(material, spec.get(key))) for key, name in DEFENSES.items()],
        ("Task", record.get("task") or spec.get("task")),
        ("Model", spec.get("model") or builtin),
        ("Data", spec.get("data") or ("the model's own" if spec.get("model") else builtin)),
        ("Seed", record.get("seed", spec.get("seed"))),
        ("Device", record.get("device")),
        ("Time", _time(material)),
    ]
    shown = [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs if value is not None]
    return tag("dl", shown, class_="facts")


def _time(material: Material) -> Child:
    """What the run took; where stages came from the store, what all of them took when they were computed."""
    took, stages = numbers.finite(material.record.get("seconds")), material.run.stages
    cached = sum(bool(entry.get("cached")) for entry in stages)
    if not cached:
        return None if took is None else numbers.seconds(took)
    total = sum(numbers.finite(entry.get("seconds")) or 0.0 for entry in stages)
    again = "" if took is None else f", this time {numbers.seconds(took)}"
    said = f" {cached} of {len(stages)} stages from the store{again}"
    return [numbers.seconds(total), tag("span", said, class_="faint")]


def _defense(material: Material, name: Any) -> Child:
    """A defense with its declared access."""
    if not name:
        return None
    entry = mapping(mapping(material.record.get("plugins")).get(f"defense:{str(name).rpartition(':')[2]}"))
    access = entry.get("access")
    if not isinstance(access, list) or not access:
        return str(name)
    seen = ", ".join(str(item).replace("-", " ") for item in access)
    return [str(name), tag("span", f" access: {seen}", class_="faint")]
