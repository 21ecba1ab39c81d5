"""Before the first stage: plugins that do not fit each other, and options that nobody can use."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_core.discovery.candidates import find
from bdm_core.errors import PluginError, UserError
from bdm_core.plugin import Field, Params, Plugin
from bdm_core.run.preparation import prepare
from bdm_core.run.specification import RunSpec, build_params, load_spec, parse_set

CELL = RunSpec(attack="toy", detect="toy", repair="toy", device="cpu", data_share=0.5)
ATTACK = """
    from bdm_toy.attack import ToyAttack

    class Odd(ToyAttack):
        name = "odd"

        def kit_params(self, params):
            return {hint}
"""
DEFENSE = """
    from bdm_core.plugin import Plugin, hookimpl

    class Odd(Plugin):
        kind, name = "defense", "odd"

        @hookimpl
        def detect(self, ctx, model, data, suspects):
            return None

        @hookimpl
        def repair(self, model):
            return model
"""


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))




@pytest.mark.parametrize(
    ("hint", "message"),
    [({"speed": 1}, "suggests 'speed', which kit:toy does not have"), ({"digits": 3}, ""), ({"size": 3}, "defenses")],
)
def test_an_attack_suggests_only_what_no_defense_sees(
    fake_site: FakeSite, monkeypatch: pytest.MonkeyPatch, hint: dict[str, int], message: str
) -> None:
    from bdm_toy.kit import ToyKit, ToyKitParams

    from bdm_core.plugin import Field

    class Sized(ToyKitParams):
        size: int = Field(1, description="Counts for every stage.")

    monkeypatch.setattr(ToyKit, "Params", Sized)
    source = ATTACK.format(hint=hint)
    fake_site.install("bdm-attack-odd", {"bdm.attacks": {"odd": "odd_attack:Odd"}}, {"odd_attack": source})
    spec = CELL.model_copy(update={"attack": "odd"})
    if message:
        with pytest.raises(PluginError, match=message):
            prepare(spec)
    else:
        assert prepare(spec).kit.params.model_dump()["digits"] == 3


def test_detection_and_repair_of_one_name_from_two_distributions_are_refused(fake_site: FakeSite) -> None:
    source = DEFENSE
    for distribution in ("bdm-defense-odd", "other-odd"):
        module = distribution.replace("-", "_")
        fake_site.install(distribution, {"bdm.defenses": {"odd": f"{module}:Odd"}}, {module: source})
    spec = CELL.model_copy(update={"detect": "bdm-defense-odd:odd", "repair": "other-odd:odd"})
    with pytest.raises(PluginError, match="from two distributions, bdm-defense-odd and other-odd"):
        prepare(spec)


@pytest.mark.parametrize(
    "arguments", ["self, model, secret=None", "self, model, *, data", "self, *everything", "self, model, **rest"]
)
def test_hooks_take_plain_arguments_only(fake_site: FakeSite, arguments: str) -> None:
    source = DEFENSE.replace("self, model)", f"{arguments})")
    fake_site.install("bdm-defense-odd", {"bdm.defenses": {"odd": "odd_defense:Odd"}}, {"odd_defense": source})
    with pytest.raises(PluginError, match=r"repair takes .*: hooks take plain arguments by name, without defaults"):
        find("defense", "odd").load()


def test_a_plugin_that_cannot_be_instantiated_is_one_line(fake_site: FakeSite) -> None:
    source = DEFENSE + "\n        def __init__(self):\n            raise ValueError('two\\nlines')\n"
    fake_site.install("bdm-defense-odd", {"bdm.defenses": {"odd": "odd_defense:Odd"}}, {"odd_defense": source})
    with pytest.raises(PluginError, match=r"defense:odd .* cannot be instantiated .* ValueError: two lines") as caught:
        find("defense", "odd").load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params: [1]", "write a mapping"),
        ("params: {'attack:toy': 3}", r"params\.attack:toy: write a mapping"),
        ("params: {'attack:toy': {rate: .nan}}", "not finite"),
        ("seed: 2026-13-45", "cannot read"),
        ("data_share: .inf", "data_share"),
    ],
)
def test_a_file_with_the_wrong_shape_gives_one_line(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_spec(config, {}, [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["2026-13-45", "2026-11-20", "!!set {a}", "[" * 5000, "a: b: c"])
def test_a_value_that_yaml_reads_oddly_stays_text(text: str) -> None:
    assert parse_set(f"attack:x.name={text}") == ("attack:x", "name", text)


class _Sample(Plugin):
    kind, name = "attack", "sample"

    class Params(Params):
        rate: float = Field(0.1, description="A rate.")


@pytest.mark.parametrize("preset", [["paper"], {"a": 1}, 3, True])
def test_a_preset_that_is_no_text_is_one_line(preset: object) -> None:
    with pytest.raises(UserError, match="has no preset"):
        build_params(_Sample(), {"preset": preset})
