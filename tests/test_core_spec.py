"""Options, files and --set: merged in order, checked, and refused in one line with the parameter's description."""

from pathlib import Path
from typing import ClassVar, Literal

import pytest

from bdm_cli.specification import load_specification, parse_set
from bdm_core.errors import UserError
from bdm_core.plugin import Attack, Field, Params
from bdm_core.run.specification import build_params, stage_seed


class SampleParams(Params):
    rate: float = Field(0.1, ge=0, le=1, description="Share of training images to poison.")
    mode: Literal["fixed", "flex"] = Field("fixed", description="How poisoned images join the set.")
    sampler: str = Field("auto", description="Sampler.", stages=["generate"])


class Sample(Attack):
    name = "sample"
    Params = SampleParams
    presets: ClassVar = {"paper": {"rate": 0.3}}


def test_later_sources_win_and_defense_stands_for_both(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("attack: one\ndefense: two\nseed: 3\nparams:\n  attack:one: {rate: 0.1, mode: flex}\n")
    spec = load_specification(config, {"attack": "sample", "repair": "three", "seed": None}, ["attack:one.rate=0.2"])
    assert (spec.attack, spec.defense, spec.repair, spec.seed) == ("sample", "two", "three", 3)
    assert spec.params == {"attack:one": {"rate": 0.2, "mode": "flex"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a list", "no mapping"),
        ("atack: villan", "no run option 'atack'; did you mean 'attack'"),
        ("metric: target", "no run option 'metric'; did you mean 'metrics'"),
        ("colour: blue", "no run option 'colour'; there are attack, data, data_share, defense, detect"),
        ("seed: -1", "seed"),
        ("data_share: 0", "data_share"),
        ("device: tpu", "device"),
        ("params: {villan: {rate: 1}}", "KIND:NAME"),
        ("attack: [", "cannot read"),
    ],
)
def test_a_wrong_file_gives_one_line(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_specification(config, {}, [])
    assert "\n" not in str(caught.value)


def test_set_items_are_yaml_typed() -> None:
    assert parse_set("attack:villan.poison_rate=0.2") == ("attack:villan", "poison_rate", 0.2)
    assert parse_set("defense:elijah.lambdas=[0.5, 1]") == ("defense:elijah", "lambdas", [0.5, 1])
    assert parse_set("attack:x.path=a.b/c=d.png") == ("attack:x", "path", "a.b/c=d.png")
    for wrong in ("rate=1", "attack:villan=1", "villan.rate=1", "attack:villan.rate"):
        with pytest.raises(UserError, match="KIND:NAME"):
            parse_set(wrong)


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
        load_specification(config, {}, [])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["2026-13-45", "2026-11-20", "!!set {a}", "[" * 5000, "a: b: c"])
def test_a_value_that_yaml_reads_oddly_stays_text(text: str) -> None:
    assert parse_set(f"attack:x.name={text}") == ("attack:x", "name", text)


def test_suggestion_preset_and_given_values_in_that_order() -> None:
    suggested = {"rate": 0.5, "sampler": "ddim"}
    assert build_params(Sample(), {"preset": "paper"}, suggested).model_dump() == {
        "rate": 0.3,
        "mode": "fixed",
        "sampler": "ddim",
    }
    assert build_params(Sample(), {"preset": "paper", "rate": 0.7}).model_dump()["rate"] == 0.7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rat": 1}, "did you mean 'rate'"),
        ({"rate": 2}, r"less than or equal to 1, got 2 \(rate: Share of training images to poison\.\)"),
        ({"mode": "often"}, "How poisoned images join"),
        ({"preset": "papr"}, "no preset 'papr'; it has paper"),
    ],
)
def test_a_wrong_parameter_is_explained(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        build_params(Sample(), given)
    assert "\n" not in str(caught.value)


def test_fields_of_other_stages_go_back_to_their_default() -> None:
    params = SampleParams(rate=0.4, sampler="ddim")
    assert params.for_stage("inject-backdoor").model_dump() == {"rate": 0.4, "mode": "fixed", "sampler": "auto"}
    assert params.for_stage("generate").model_dump()["sampler"] == "ddim"


def test_stage_seeds_are_independent_63_bit_numbers() -> None:
    seeds = {stage_seed(run, stage, plugin) for run in range(5) for stage in ("a", "b") for plugin in ("x:y", "x:z")}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert stage_seed(0, "detect", "defense:elijah") == stage_seed(0, "detect", "defense:elijah")
