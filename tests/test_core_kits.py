"""The kit of a task: found without import; several for one task are an error unless the user chose."""

from __future__ import annotations

import pytest
from cli_process import bdm, error_line, install_toys
from fake_site import FakeSite

from bdm_core.discovery.tasks import choose_kit, choose_task, kits_by_task
from bdm_core.errors import PluginError, UserError

KIT = """
    from cli_toys import ToyKit

    class Other(ToyKit):
        name = {name!r}
        tasks = frozenset({{{task!r}}})
"""


@pytest.fixture
def toys(fake_site: FakeSite) -> FakeSite:
    install_toys(fake_site)
    return fake_site


def install_kit(site: FakeSite, distribution: str, name: str, task: str = "toy-task") -> None:
    module = distribution.replace("-", "_")
    entries = {"bdm.kits": {name: f"{module}:Other"}, "bdm.tasks": {task: f"{module}:Other"}}
    site.install(distribution, entries, {module: KIT.format(name=name, task=task)})


def test_the_only_kit_of_a_task_needs_no_choice(toys: FakeSite) -> None:
    assert [item.id for item in kits_by_task()["toy-task"]] == ["kit:toytask"]
    assert choose_kit("toy-task").id == "kit:toytask"
    assert choose_task(None, [], kit="toytask") == "toy-task"


def test_two_kits_of_one_task_are_an_error_that_says_what_to_do(toys: FakeSite) -> None:
    install_kit(toys, "other-kit", "second")
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--device", "cpu"))
    assert "several installed kits serve task toy-task" in message
    assert "'second' of other-kit and 'toytask' of bdm-toys" in message
    assert "choose --kit second or --kit toytask, or uninstall the rest" in message
    assert message == error_line(bdm(toys, "scan", "honest", "--defense", "toylook", "--device", "cpu"))
    assert not (toys.root.parent / "runs").exists()


def test_a_chosen_kit_runs(toys: FakeSite) -> None:
    install_kit(toys, "other-kit", "second")
    done = bdm(toys, "run", "--attack", "toyword", "--kit", "second", "--device", "cpu", "--json", "--no-report")
    assert done.returncode == 0, done.stderr
    assert '"kit:second"' in done.stdout and '"kit:toytask"' not in done.stdout


def test_two_kits_of_one_name_are_told_apart_by_distribution(toys: FakeSite) -> None:
    install_kit(toys, "other-kit", "toytask")
    with pytest.raises(PluginError, match="--kit bdm-toys:toytask or --kit other-kit:toytask"):
        choose_kit("toy-task")
    assert choose_kit("toy-task", "other-kit:toytask").distribution == "other-kit"


def test_the_allow_list_is_a_choice_too(toys: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    install_kit(toys, "other-kit", "second")
    monkeypatch.setenv("BDM_PLUGINS", "other-kit, bdm-something")
    assert choose_kit("toy-task").id == "kit:second"


def test_a_kit_that_does_not_serve_the_task_is_refused(toys: FakeSite) -> None:
    install_kit(toys, "other-kit", "second", task="juggling")
    with pytest.raises(UserError, match=r"kit 'second' does not serve task toy-task; it serves juggling"):
        choose_kit("toy-task", "second")
    message = error_line(bdm(toys, "run", "--attack", "toyword", "--kit", "second"))
    assert "toy-task" in message and "juggling" in message
    assert "did you mean 'second'?" in error_line(bdm(toys, "run", "--attack", "toyword", "--kit", "secnod"))


def test_a_plugin_that_detects_and_repairs_is_named_once(toys: FakeSite) -> None:
    install_kit(toys, "other-kit", "second", task="juggling")
    arguments = ("--attack", "toyword", "--defense", "toylook", "--kit", "second", "--device", "cpu")
    assert error_line(bdm(toys, "run", *arguments)).count("defense:toylook") == 1
