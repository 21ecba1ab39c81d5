"""The documentation against the code: hooks, context, records, options, links."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bdm_core import artifacts, hookspecs, records
from bdm_core.context import Context
from bdm_core.store.paths import EVENTS, LOG, REPORT, RESULTS, RUN_RECORD, STAGES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
HOOKS = {name: value for name, value in vars(hookspecs).items() if hasattr(value, "bdm_spec")}
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
COMMAND = re.compile(r"^\s*(?:[A-Z_]+=\S+ )*bdm ([a-z].*)$", re.MULTILINE)


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def signature(name: str) -> str:
    """A hook as the page writes it."""
    found = inspect.signature(HOOKS[name])
    arguments = ", ".join(f"{item.name}: {item.annotation}" for item in found.parameters.values())
    return f"{name}({arguments}) -> {found.return_annotation}".replace("'", '"')


def test_every_hook_is_documented_with_its_exact_signature() -> None:
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    documented = [line for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert sorted(documented) == sorted(signature(name) for name in HOOKS)


def test_every_hook_says_what_it_is_for() -> None:
    assert [name for name, hook in HOOKS.items() if not (hook.__doc__ or "").strip()] == []


def test_defenses_are_offered_no_secret() -> None:
    for name in ("detect", "repair", "purify_inputs"):
        assert "secret" not in inspect.signature(HOOKS[name]).parameters


def test_context_table_has_every_attribute() -> None:
    text = (DOCS / "hooks.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `ctx\.([a-z_]+)", text, re.MULTILINE))
    fields = {field.name for field in dataclasses.fields(Context)}
    methods = {name for name, value in vars(Context).items() if inspect.isfunction(value) and not name.startswith("_")}
    assert documented == (fields | methods) - {"on_progress", "on_figures", "on_query"}


def test_records_are_documented_with_their_fields() -> None:
    text = (DOCS / "artifacts.md").read_text(encoding="utf-8")
    for cls in (records.Backdoored, records.Purified, records.Subject, records.Measurement):
        listed = re.search(rf"`{cls.__name__}\(([^)]*)\)`", text.replace("\n", " "))
        assert listed is not None
        assert set(listed.group(1).split(", ")) == set(cls.model_fields)
    for cls in (artifacts.Data, artifacts.Model, artifacts.Secret, artifacts.Outputs, artifacts.Evidence):
        assert f"| `{cls.__name__}` |" in text


def test_files_of_a_run_are_documented() -> None:
    text = (DOCS / "artifacts.md").read_text(encoding="utf-8")
    assert {f"`{name}`" for name in (EVENTS, LOG, REPORT, RESULTS, RUN_RECORD, STAGES)} <= set(
        re.findall(r"`[^`\n]+`", text)
    )


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path) -> None:
    targets = [target for target, _ in LINK.findall(path.read_text(encoding="utf-8")) if "://" not in target]
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_pages_are_plain(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith(("|", "<!--"))]
    assert long == [] or path.parent.name == "plugins"  # those are generated, with links made longer
    assert not re.search(r"\b(TODO|FIXME|TBD)\b", text)


def commands() -> set[tuple[str, ...]]:
    """The subcommands that the documentation uses, with the options of each line."""
    found: set[tuple[str, ...]] = set()
    for path in PAGES:
        blocks = re.findall(r"```\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for line in COMMAND.findall("\n".join(blocks)):
            words = line.partition("#")[0].split()
            depth = 2 if words[0] == "plugins" else 1
            options = [word.partition("=")[0] for word in words[depth:] if word.startswith("--")]
            found.add((" ".join(words[:depth]), *options))
    return found


def test_commands_and_options_in_the_documentation_exist() -> None:
    used: dict[str, set[str]] = {}
    for command, *options in commands():
        used.setdefault(command, set()).update(options)
    assert {"run", "scan", "results", "report", "import", "plugins list", "plugins new"} <= set(used)
    for command, options in used.items():
        done = subprocess.run(
            [sys.executable, "-m", "bdm_cli", *command.split(), "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        )
        assert done.returncode == 0, f"bdm {command}: {done.stderr}"
        missing = [option for option in options if option not in done.stdout]
        assert missing == [], f"bdm {command} has no {missing}"


def test_every_command_is_in_the_readme() -> None:
    from typer.main import get_command

    from bdm_cli.main import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"bdm {name}" in text


def test_makefile_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for path in PAGES:
        code = re.findall(r"```\n(.*?)```|`([^`\n]+)`", path.read_text(encoding="utf-8"), re.DOTALL)
        used = {
            target for parts in code for part in parts for target in re.findall(r"^make ([a-z]+)", part, re.MULTILINE)
        }
        assert used <= targets, path.name
