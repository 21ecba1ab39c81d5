"""Before the first stage: plugins that do not fit each other, and options that nobody can use."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_core.discovery.candidates import find
from bdm_core.errors import PluginError, UserError
from bdm_core.plugin import Attack, Field, Params
from bdm_core.run.preparation import prepare
from bdm_core.run.specification import RunSpec, build_params

CELL = RunSpec(attack="toy", detect="toy", repair="toy", device="cpu", data_share=0.5)
ATTACK = """
    from bdm_toy.attack import ToyAttack

    class Odd(ToyAttack):
        name = "odd"

        def kit_params(self, params):
            return {hint}
"""
DEFENSE = """
    from bdm_core import Defense, hookimpl

    class Odd(Defense):
        name = "odd"

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
    fake_site.install(
        "bdm-attack-odd",
        {"bdm.attacks": {"odd": "odd_attack:Odd"}, "bdm.tasks": {"toy": "odd_attack:Odd"}},
        {"odd_attack": source},
    )
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


class _Sample(Attack):
    name = "sample"

    class Params(Params):
        rate: float = Field(0.1, description="A rate.")


@pytest.mark.parametrize("preset", [["paper"], {"a": 1}, 3, True])
def test_a_preset_that_is_no_text_is_one_line(preset: object) -> None:
    with pytest.raises(UserError, match="has no preset"):
        build_params(_Sample(), {"preset": preset})
