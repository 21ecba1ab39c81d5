"""Discovery without import, and one clear line for every way in which a plugin can be wrong."""

import subprocess
import sys

import pytest
from fake_site import FakeSite

from bdm_core.discovery.candidates import ALLOW_LIST, find, installed, scoped
from bdm_core.discovery.origin import Origins, source_digest
from bdm_core.errors import PluginError

GOOD = """
    from bdm_core import Attack, hookimpl

    class Toy(Attack):
        name = "toytest"

        @hookimpl
        def inject_backdoor(self, ctx, params, model, data):
            return None
"""


def _install(
    site: FakeSite, source: str = GOOD, name: str = "toytest", distribution: str = "bdm-attack-toytest"
) -> None:
    module = distribution.replace("-", "_")
    site.install(distribution, {"bdm.attacks": {name: f"{module}.plugin:Toy"}}, {f"{module}.plugin": source})


def test_plugins_are_listed_from_metadata_alone(fake_site: FakeSite) -> None:
    _install(fake_site, "raise RuntimeError('must not be imported')")
    found = [item for item in installed("attack") if item.name == "toytest"]
    assert [(item.id, item.distribution, item.version, item.package) for item in found] == [
        ("attack:toytest", "bdm-attack-toytest", "1.0", "bdm_attack_toytest")
    ]
    assert "bdm_attack_toytest" not in sys.modules
    assert not [item for item in installed("defense") if item.name == "toytest"]


def test_a_good_plugin_loads_and_states_its_origin(fake_site: FakeSite) -> None:
    _install(fake_site)
    candidate = find("attack", "toytest")
    plugin = candidate.load()
    assert (plugin.kind, plugin.name) == ("attack", "toytest")
    assert len(Origins({}).of(candidate.dist)) == 64


def test_an_unknown_name_suggests_the_nearest(fake_site: FakeSite) -> None:
    _install(fake_site)
    with pytest.raises(PluginError, match="did you mean 'toytest'"):
        find("attack", "toytst")


def test_a_clash_names_both_distributions_and_either_can_be_chosen(fake_site: FakeSite) -> None:
    _install(fake_site)
    _install(fake_site, distribution="bdm-attack-other")
    with pytest.raises(PluginError, match="bdm-attack-other:toytest or bdm-attack-toytest:toytest"):
        find("attack", "toytest")
    assert find("attack", "bdm-attack-other:toytest").distribution == "bdm-attack-other"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module_anywhere", "cannot be imported from .*ModuleNotFoundError"),
        ("raise SystemError('two\\nlines')", "cannot be imported from .*SystemError: two"),
        ("class Toy: pass", "no subclass of"),
        (
            GOOD.replace('name = "toytest"', 'name, api = "toytest", 99'),
            "plugin API 99",
        ),
        (GOOD.replace('"toytest"', '"other"'), "its class says attack:other"),
        (GOOD.replace("model, data)", "model, date)"), "date"),
        (GOOD.replace("inject_backdoor", "inject_backdor"), "unknown hook 'inject_backdor'"),
    ],
)
def test_a_broken_plugin_is_one_line(fake_site: FakeSite, source: str, message: str) -> None:
    _install(fake_site, source)
    with pytest.raises(PluginError, match=message) as caught:
        find("attack", "toytest").load()
    assert "\n" not in str(caught.value)
    assert "toytest" in str(caught.value)


@pytest.mark.parametrize("hook", ["detect", "repair", "purify_inputs"])
def test_a_defense_that_asks_for_the_secret_is_refused(fake_site: FakeSite, hook: str) -> None:
    source = f"""
        from bdm_core import Defense, hookimpl

        class Toy(Defense):
            name = "peek"

            @hookimpl
            def {hook}(self, ctx, model, secret):
                return None
    """
    fake_site.install("bdm-defense-peek", {"bdm.defenses": {"peek": "peek_plugin:Toy"}}, {"peek_plugin": source})
    with pytest.raises(PluginError, match="a defense never sees the attack's secret"):
        find("defense", "peek").load()


def test_the_allow_list_is_checked_before_the_import(fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(fake_site)
    monkeypatch.setenv(ALLOW_LIST, "bdm-attack-villan, bdm-kit-diffusion")
    with pytest.raises(PluginError, match="not in the allow-list"):
        find("attack", "toytest").load()
    assert "bdm_attack_toytest" not in sys.modules
    monkeypatch.setenv(ALLOW_LIST, "bdm-attack-toytest")
    find("attack", "toytest").load()


def test_the_first_plugin_is_asked_first_and_managers_share_nothing(fake_site: FakeSite) -> None:
    _install(fake_site)
    one = find("attack", "toytest").load()
    manager = scoped(one)
    assert [name for name, _ in manager.list_name_plugin()] == ["attack:toytest"]
    assert scoped().list_name_plugin() == []


def test_the_source_digest_changes_with_code_and_data_but_not_with_caches(fake_site: FakeSite) -> None:
    _install(fake_site)
    package = fake_site.root / "bdm_attack_toytest"
    before = source_digest([package])
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "plugin.cpython-311.pyc").write_bytes(b"x")
    assert source_digest([package]) == before
    (package / "weights.safetensors").write_bytes(b"x")
    assert source_digest([package]) != before


def test_the_core_imports_nothing_heavy() -> None:
    code = (
        "import sys, bdm_core.run.runner, bdm_core.discovery.candidates, bdm_core.hookspecs; "
        "print([m for m in ('torch', 'numpy', 'diffusers', 'transformers', 'rich', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
