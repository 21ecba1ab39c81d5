"""Which task a run is for: shared by its plugins, decided by its model, or by the kit that goes first."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_core.discovery.candidates import find, installed
from bdm_core.discovery.tasks import choose_task, tasks_of_model
from bdm_core.errors import PluginError, UserError

KIT = """
    from bdm_core import BuiltIn, Kit

    class Own(Kit):
        name, tasks, precedence = "{name}", frozenset({{"{task}"}}), {precedence}

        def models(self):
            return [BuiltIn(name="{task}-small", task="{task}", summary="a small one", size="3 numbers")]

        def task_of(self, folder):
            return "{task}" if (folder / "{task}.json").exists() else None
"""
ATTACK = """
    from bdm_core import Attack, hookimpl

    class Own(Attack):
        name, tasks = "{name}", frozenset({tasks})

        @hookimpl
        def inject_backdoor(self, model):
            return None
"""


@pytest.fixture
def site(fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    kit(fake_site, "juggling", 1)
    kit(fake_site, "knitting", 0)
    monkeypatch.setenv("BDM_PLUGINS", "kit-juggling,kit-knitting,one,other,both,every")
    return fake_site


def kit(site: FakeSite, task: str, precedence: int) -> None:
    source = KIT.format(name=f"kit-of-{task}", task=task, precedence=precedence)
    module = f"kit_{task}"
    entries = {"bdm.kits": {f"kit-of-{task}": f"{module}:Own"}, "bdm.tasks": {task: f"{module}:Own"}}
    site.install(f"kit-{task}", entries, {module: source})


def attack(site: FakeSite, distribution: str, name: str, *tasks: str) -> None:
    source = ATTACK.format(name=name, tasks=set(tasks) or "()")
    target = f"attack_{distribution}:Own"
    entries = {"bdm.attacks": {name: target}, "bdm.tasks": dict.fromkeys(tasks, target)}
    site.install(distribution, entries, {f"attack_{distribution}": source})


def test_one_name_from_two_distributions_is_chosen_by_the_task(site: FakeSite) -> None:
    attack(site, "one", "throw", "juggling")
    attack(site, "other", "throw", "knitting")
    assert find("attack", "throw", "juggling").distribution == "one"
    assert find("attack", "throw", "knitting").distribution == "other"
    with pytest.raises(PluginError, match="choose one:throw or other:throw"):
        find("attack", "throw")
    with pytest.raises(PluginError, match="does not work for task sewing; it works for juggling, knitting"):
        find("attack", "throw", "sewing")
    assert [item.distribution for item in installed("attack", "knitting") if item.name == "throw"] == ["other"]


def test_two_of_one_name_and_task_are_an_error_that_names_both(site: FakeSite) -> None:
    attack(site, "one", "throw", "juggling")
    attack(site, "other", "throw", "juggling", "knitting")
    with pytest.raises(PluginError, match="one:throw or other:throw"):
        find("attack", "throw", "juggling")
    assert find("attack", "throw", "knitting").distribution == "other"


def test_a_plugin_without_an_entry_works_for_every_task(site: FakeSite) -> None:
    attack(site, "every", "watch")
    assert find("attack", "watch", "juggling").tasks == find("attack", "watch", "sewing").tasks == frozenset()


def test_a_class_that_disagrees_with_its_entries_is_refused(site: FakeSite) -> None:
    source = ATTACK.format(name="throw", tasks={"juggling"})
    site.install("one", {"bdm.attacks": {"throw": "attack_one:Own"}}, {"attack_one": source})
    with pytest.raises(PluginError, match=r"works for juggling, its entry points in bdm.tasks say every task"):
        find("attack", "throw").load()


def test_the_task_is_what_plugins_share(site: FakeSite) -> None:
    attack(site, "one", "throw", "juggling")
    attack(site, "other", "throw", "knitting")
    attack(site, "both", "drop", "knitting")
    assert choose_task(None, [("attack", "throw"), ("attack", "drop")]) == "knitting"
    assert choose_task("juggling", [("attack", "throw")]) == "juggling"


def test_what_plugins_leave_open_the_model_decides_and_then_precedence(site: FakeSite, tmp_path: Path) -> None:
    attack(site, "one", "throw", "juggling", "knitting")
    open_task = [("attack", "throw")]
    assert choose_task(None, open_task) == "juggling"
    assert choose_task(None, open_task, model="knitting-small") == "knitting"
    (tmp_path / "knitting.json").write_text("{}")
    assert choose_task(None, open_task, model=str(tmp_path)) == "knitting"
    assert tasks_of_model(str(tmp_path)) == tasks_of_model("knitting-small") == ["knitting"]
    assert tasks_of_model("nowhere") == [] == tasks_of_model("x" * 5000)
    assert choose_task(None, open_task, model="nowhere") == "juggling"


def test_equal_precedence_is_a_question_to_the_user(site: FakeSite) -> None:
    kit(site, "knitting", 1)
    attack(site, "one", "throw", "juggling", "knitting")
    with pytest.raises(UserError, match="several tasks: name one, --task juggling or --task knitting"):
        choose_task(None, [("attack", "throw")])


def test_plugins_without_a_common_task_are_named(site: FakeSite) -> None:
    attack(site, "one", "throw", "juggling")
    attack(site, "other", "knit", "knitting")
    with pytest.raises(UserError, match=r"attack:throw: juggling; attack:knit: knitting"):
        choose_task(None, [("attack", "throw"), ("attack", "knit")])


def test_a_damaged_distribution_does_not_hide_the_others(site: FakeSite, caplog: pytest.LogCaptureFixture) -> None:
    attack(site, "one", "throw", "juggling")
    info = site.root / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(b"Metadata-Version: 2.1\nName: broken\nVersion: 1.0\nSummary: caf\xe9\n")
    (info / "entry_points.txt").write_text("[bdm.attacks]\nbroken = broken:Own\n")
    nameless = site.root / "nameless-1.0.dist-info"
    nameless.mkdir()
    (nameless / "entry_points.txt").write_text("[bdm.attacks]\nnameless = nameless:Own\n")
    assert find("attack", "throw").name == "throw"
    assert find("attack", "nameless").version == "?"
