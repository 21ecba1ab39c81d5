"""Everything needed to do the run again: command, specification, plugins, seeds, versions, machine, digests."""

from __future__ import annotations

import json
import shlex
from typing import Any

from bdm_cli.html import numbers, settings
from bdm_cli.html.markup import Child, Html, table, tag
from bdm_cli.html.material import Material, mapping
from bdm_cli.run_models import models_of


def section(material: Material) -> Html:
    """The last part of the report."""
    record = material.record
    command = record.get("command") or ""
    text = shlex.join(str(word) for word in command) if isinstance(command, list) else str(command)
    return tag(
        "section",
        tag("h2", "Provenance"),
        tag("pre", tag("code", text), class_="command", tabindex=0, aria_label="command") if text else None,
        _pairs([*_run(record), *_models(material)]),
        _plugins(material),
        _details("Resolved specification", _block(record.get("spec")) if record.get("spec") else None),
        _details("Seeds of the stages", _lines(record.get("stage_seeds"))),
        _details("Library versions", _lines(record.get("versions"))),
        _details("Hardware", _lines(_hardware(record.get("hardware")))),
        _details("Keys and digests", _digests(material)),
        _problems(material),
    )


def _run(record: dict[str, Any]) -> list[tuple[str, Any]]:
    libraries = mapping(record.get("versions"))
    main = [f"{name} {libraries[name]}" for name in ("bdm", "torch", "diffusers") if name in libraries]
    return [
        ("Run", record.get("run")),
        ("Status", record.get("status")),
        ("Started", record.get("started")),
        ("Finished", record.get("finished")),
        ("Seed", record.get("seed")),
        ("Versions", ", ".join(main) or None),
        ("Processor", mapping(record.get("hardware")).get("processor") or None),
        ("Git commit", record.get("git_commit")),
    ]


def _models(material: Material) -> list[tuple[str, Any]]:
    """Where the models that the run made lie, beside the run's folder."""
    shown = {"backdoored"} | ({"repaired"} if material.repairs() else set())
    found = {row: path.relative_to(material.run.folder.parent) for row, path in models_of(material.run).items()}
    return [(f"{row.capitalize()} model", path.as_posix()) for row, path in found.items() if row in shown]


def _pairs(pairs: list[tuple[str, Any]]) -> Html:
    shown = [(name, value) for name, value in pairs if value is not None and value != ""]
    return tag("dl", [[tag("dt", name), tag("dd", str(value))] for name, value in shown], class_="pairs")


def _plugins(material: Material) -> Html | None:
    rows: list[list[Child]] = []
    for name, facts in mapping(material.record.get("plugins")).items():
        entry = mapping(facts)
        distribution = f"{entry.get('distribution') or ''} {entry.get('version') or ''}".strip()
        rows.append([name, distribution, tag("code", str(entry.get("digest") or numbers.NONE)[:16])])
        rows[-1].append(_params(settings.resolved(material, name)))
    return table(["Plugin", "Distribution", "Source digest", "Parameters"], rows, caption="Plugins") if rows else None


def _params(params: dict[str, Any]) -> Child:
    text = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in params.items())
    return tag("td", text or numbers.NONE, class_="wrap")


def _details(summary: str, content: Html | None) -> Html | None:
    return tag("details", tag("summary", summary), content) if content is not None else None


def _block(value: Any) -> Html:
    return tag(
        "pre", tag("code", json.dumps(value, indent=2, ensure_ascii=False)), tabindex=0, aria_label="specification"
    )


def _lines(value: Any) -> Html | None:
    facts = mapping(value)
    return _pairs([(name, _text(item)) for name, item in facts.items()]) if facts else None


def _text(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _hardware(value: Any) -> dict[str, Any]:
    facts = mapping(value)
    if "memory_bytes" in facts:
        facts["memory"] = numbers.memory(facts.pop("memory_bytes"))
    return facts


def _digests(material: Material) -> Html | None:
    rows: list[list[Child]] = []
    for entry in material.run.stages:
        rows.append([str(entry.get("label")), "key", tag("code", str(entry.get("key") or numbers.NONE))])
        rows += [["", name, tag("code", digest)] for name, digest in _named(entry.get("digests"))]
    return (
        table(["Stage", "What", "SHA-256"], rows, class_="plain digests", caption="Keys and digests") if rows else None
    )


def _named(value: Any) -> list[tuple[str, str]]:
    """Digests as (name, digest), from a mapping, a list or a single text."""
    if isinstance(value, dict):
        return [(str(name), _text(digest)) for name, digest in value.items()]
    if isinstance(value, list):
        return [("artifact", str(digest)) for digest in value]
    return [("artifact", str(value))] if value else []


def _problems(material: Material) -> Html | None:
    if not material.problems:
        return None
    lines = [tag("li", line) for line in material.problems]
    return tag("div", tag("p", "Not shown, because it could not be opened:"), tag("ul", lines), class_="warnings")
