"""The head of the report: the verdict with its scale, what became of the attack, and what the run was."""

from __future__ import annotations

from typing import Any

from bdm_cli.html import charts, numbers
from bdm_cli.html.markup import Child, Html, tag
from bdm_cli.html.material import Material
from bdm_cli.html.metrics import is_attack_success, shown_name
from bdm_cli.html.table import STYLES

ROLE = {"clean": "the clean model", "backdoored": "the backdoored model", "repaired": "the repaired model"}


def section(material: Material) -> Html:
    """Everything above the result table."""
    record = material.record
    judged = list(material.verdicts().items())
    return tag(
        "header",
        tag("p", "bdm report", tag("span", record.get("run") or material.run.folder.name), class_="eyebrow"),
        _status(record),
        _main(material, *judged[0]) if judged else _none(material),
        [_other(role, facts) for role, facts in judged[1:]],
        _success(material),
        _facts(material),
    )


def title(material: Material) -> str:
    """The page's title."""
    judged = list(material.verdicts().values())
    verdict = str(judged[0].get("verdict")) if judged else str(material.record.get("status") or "run")
    return f"{verdict}: {what(material.spec())} (bdm report)"


def what(spec: dict[str, Any]) -> str:
    """The run in a few words, e.g. ``villan against elijah``."""
    attack, detect, repair = (spec.get(key) for key in ("attack", "detect", "repair"))
    defense = " and ".join(dict.fromkeys(str(name) for name in (detect, repair) if name))
    if not attack:
        return f"scan by {defense}" if defense else "scan"
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
    verdict = str(facts.get("verdict") or "no verdict")
    threshold, score = numbers.finite(facts.get("threshold")), numbers.finite(facts.get("score"))
    detection = material.detection("detection on clean model" if role == "clean" else "detection")
    scores = [value for value in detection.scores if numbers.finite(value) is not None] if detection else []
    if len(scores) < 2 and score is not None:
        scores = [score]
    p_value = numbers.finite(facts.get("p_value"))
    sentence: list[Child] = [
        tag("b", str(material.spec().get("detect") or "The detector")),
        f" on {_subject(material, role)}",
    ]
    if len(scores) > 1 and threshold is not None:
        flagged = sum(value > threshold for value in scores)
        sentence.append(f": {flagged} of {len(scores)} {facts.get('level') or 'input'}s flagged")
    if p_value is not None:
        sentence.append(f", {numbers.p_value(p_value)}")
    if detection and detection.clean_samples:
        sentence.append(f", from {detection.clean_samples} clean samples")
    note = str(facts.get("note") or "")
    return tag(
        "div",
        tag("h1", verdict[:1].upper() + verdict[1:]),
        tag("p", sentence, ".", class_="lead"),
        charts.scale(scores[:2000], threshold) if scores and threshold is not None else None,
        tag("p", note, class_="note") if note else None,
        class_=f"verdict {STYLES.get(verdict, 'open')}",
    )


def _subject(material: Material, role: str) -> str:
    return "this model" if not material.spec().get("attack") else ROLE.get(role, f"the {role} model")


def _none(material: Material) -> Html:
    reason = "No detector has judged a model in this run."
    return tag("div", tag("h1", "No verdict"), tag("p", reason, class_="lead"), class_="verdict open")


def _other(role: str, facts: dict[str, Any]) -> Html:
    verdict = str(facts.get("verdict") or "no verdict")
    details = [f"score {numbers.number(facts.get('score'))}", f"threshold {numbers.number(facts.get('threshold'))}"]
    if (p_value := numbers.finite(facts.get("p_value"))) is not None:
        details.append(numbers.p_value(p_value))
    return tag(
        "p",
        f"The same detector on {ROLE.get(role, f'the {role} model')}: ",
        tag("b", verdict, class_=STYLES.get(verdict, "open")),
        f" ({', '.join(details)}).",
    )


def _success(material: Material) -> Html | None:
    """One sentence on attack success before and after repair."""
    lines = [line for line in material.run.results if is_attack_success(str(line.get("metric")))]
    metric = next((str(line["metric"]) for line in lines if numbers.finite(line.get("value")) is not None), None)
    rates: dict[str, float] = {}
    for line in lines:
        value = numbers.finite(line.get("value"))
        if line["metric"] == metric and value is not None:
            rates.setdefault(str(line.get("row")), value)
    if "backdoored" not in rates:
        return None
    assert metric is not None
    text: list[Child] = [
        "Under the trigger, ",
        tag("b", numbers.percent(rates["backdoored"])),
        " of the backdoored model's outputs are the attack's target",
    ]
    if "clean under trigger" in rates:
        text.append(f" (clean model: {numbers.percent(rates['clean under trigger'])})")
    if "repaired" in rates:
        text += ["; after the repair, ", tag("b", numbers.percent(rates["repaired"]))]
    label = next(shown_name(metric, str(line.get("label") or "")) for line in lines if line["metric"] == metric)
    return tag("p", text, ".", tag("span", f" Measured as {label}.", class_="faint"))


def _facts(material: Material) -> Html:
    record, spec = material.record, material.spec()
    builtin = "built in"
    pairs: list[tuple[str, Any]] = [
        ("Attack", spec.get("attack")),
        ("Detection", spec.get("detect")),
        ("Repair", spec.get("repair")),
        ("Task", record.get("task") or spec.get("task")),
        ("Model", spec.get("model") or builtin),
        ("Data", spec.get("data") or builtin),
        ("Seed", record.get("seed", spec.get("seed"))),
        ("Device", record.get("device")),
        ("Time", numbers.seconds(record.get("seconds")) if record.get("seconds") is not None else None),
    ]
    shown = [tag("div", tag("dt", name), tag("dd", str(value))) for name, value in pairs if value is not None]
    return tag("dl", shown, class_="facts")
