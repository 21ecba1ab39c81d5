"""Plans: which cells they have, and that a bad one is one line before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_process import bdm, error_line
from fake_site import FakeSite
from sweep_toys import TOY

from bdm_core.errors import BdmError, UserError
from bdm_sweep import Plan, read_plan
from bdm_sweep.cells import Cells, Preparation, cells_of, joined
from bdm_sweep.plan import plan_of

CPU = {"device": "cpu"}


@pytest.fixture(autouse=True)
def _toy_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))


def cells(**fields: Any) -> Cells:
    return cells_of(plan_of({"attacks": ["toy"], "options": CPU, **fields}), Preparation())


def test_lists_multiply_and_each_cell_has_a_name_of_its_own(tmp_path: Path) -> None:
    found = cells(defenses=["toy", "toy-rows"], seeds="0-2", data=["builtin"], models=["builtin", str(tmp_path)])
    assert len(found.possible) == 1 * 2 * 3 * 2
    assert len({cell.name for cell in found.possible}) == 12
    assert all(cell.spec.data == "builtin" for cell in found.possible)


def test_without_defenses_attacks_stand_alone() -> None:
    (cell,) = cells().possible
    assert (cell.spec.defense, cell.defense) == (None, "-")


def test_a_parameter_multiplies_only_the_cells_that_have_its_plugin() -> None:
    found = cells(defenses=["toy", "toy-rows"], parameters={"defense:toy.limit": [4.0, 5.0]})
    assert [(cell.defense, cell.spec.params) for cell in found.possible] == [
        ("toy", {"defense:toy": {"limit": 4.0}}),
        ("toy", {"defense:toy": {"limit": 5.0}}),
        ("toy-rows", {}),
    ]


def test_a_default_that_is_written_out_makes_no_other_cell() -> None:
    found = cells(
        attacks=["toy", {"name": "toy", "params": {"shift": 8}}, {"name": "toy", "params": {"shift": 9}}],
        overrides=[{"when": {"attack:toy.shift": 9}, "set": {"triggered_share": 1.0}}],
    )
    assert [cell.spec.params for cell in found.possible] == [{}, {"attack:toy": {"shift": 9}}]
    assert found.repeated == 1
    parts = [cells(), cells(models=["builtin"]), cells(data=["builtin"]), cells(options={**CPU, "triggered_share": 1})]
    together = joined([*parts, cells(seeds=[1]), cells(options={**CPU, "triggered_share": 0.5})])
    assert [cell.spec.seed for cell in together.possible] == [0, 1, 0] and together.repeated == 3


def test_zip_goes_through_the_values_together() -> None:
    parameters = {"attack:toy.shift": [8, 9], "attack:toy.poison_rate": [0.1, 0.2]}
    grid, zipped = cells(parameters=parameters), cells(parameters=parameters, combine="zip")
    assert len(grid.possible) == 4
    assert [cell.spec.params["attack:toy"] for cell in zipped.possible] == [
        {"shift": 8, "poison_rate": 0.1},
        {"shift": 9, "poison_rate": 0.2},
    ]
    with pytest.raises(UserError, match=r"zip needs as many values"):
        cells(parameters={"attack:toy.shift": [8, 9], "attack:toy.steps": [1]}, combine="zip")


def test_excludes_and_overrides() -> None:
    found = cells(
        defenses=["toy", "toy-rows"],
        seeds=[0, 1],
        exclude=[{"defense": "toy-rows", "seed": [1, 2]}],
        overrides=[{"when": {"defense": "toy"}, "set": {"data_share": 0.7, "params": {"kit:toy": {"samples": 4}}}}],
    )
    assert [(cell.defense, cell.spec.seed, cell.spec.data_share) for cell in found.possible] == [
        ("toy", 0, 0.7),
        ("toy", 1, 0.7),
        ("toy-rows", 0, 0.1),
    ]
    assert found.excluded == 1
    assert found.possible[0].spec.params == {"kit:toy": {"samples": 4}}


def test_a_pair_that_cannot_be_has_a_reason_and_stops_nothing(fake_site: FakeSite) -> None:
    code = """
    from bdm_core import Attack, hookimpl
    class Edit(Attack):
        name = "edit"
        tasks = frozenset({"toy"})
        @hookimpl
        def inject_backdoor(self, ctx, params, model): ...
    """
    fake_site.install(
        "bdm-edit", {"bdm.attacks": {"edit": "edit:Edit"}, "bdm.tasks": {"toy.edit": "edit:Edit"}}, {"edit": code}
    )
    found = cells(attacks=["toy", "edit"], defenses=["toy", "toy-rows"])
    assert [(cell.spec.attack, cell.defense) for cell in found.possible] == [
        ("toy", "toy"),
        ("toy", "toy-rows"),
        ("edit", "toy"),
    ]
    ((cell, reason),) = found.impossible
    assert (cell.spec.attack, cell.defense) == ("edit", "toy-rows")
    assert reason.startswith("defense:toy-rows needs training data, and attack:edit makes none")


def test_rules_of_a_scan_name_its_detectors(tmp_path: Path) -> None:
    rules = {
        "exclude": [{"defense": "toy", "model": "builtin"}],
        "overrides": [{"when": {"defense": "toy"}, "set": {"data_share": 0.5}}],
    }
    plan = {"scan": True, "models": ["builtin", str(tmp_path)], "defenses": ["toy"], "options": CPU, **rules}
    found = cells_of(plan_of(plan), Preparation())
    assert [(cell.spec.model, cell.spec.data_share) for cell in found.possible] == [(str(tmp_path), 0.5)]


def test_a_pair_of_different_tasks_cannot_be() -> None:
    found = cells(defenses=["toy", "elijah"])
    ((cell, reason),) = found.impossible
    assert cell.defense == "elijah"
    assert reason.startswith("no common task (attack:toy: toy; defense:elijah: ")


def test_plans_extend_each_other(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("attacks: [toy]\nseeds: 0-4\n")
    (tmp_path / "more.yaml").write_text("extends: base.yaml\nseeds: [7]\n")
    plan = read_plan(tmp_path / "more.yaml")
    assert (plan.attacks[0].name, plan.seeds) == ("toy", [7])


CIRCLE: dict[str, Any] = {"attacks": ["toy"]}
CIRCLE["options"] = {"params": CIRCLE}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"attacks": ["toi"]}, "no attack 'toi' is installed; did you mean 'toy'?"),
    ({"attacks": ["toy"], "defenses": ["toy-rowz"]}, "did you mean 'toy-rows'?"),
    ({"attack": ["toy"]}, "nothing is called 'attack' in a plan; did you mean 'attacks'?"),
    ({"attacks": []}, "attacks: name at least one"),
    ({"attacks": ["toy"], "scan": True, "models": ["tiny"]}, "a scan has models and defenses with names"),
    ({"scan": True, "models": ["tiny"]}, "defenses: name the detectors of the scan"),
    ({"attacks": ["toy"], "parameters": {"attack:toy.shift": []}}, "has no values: an empty grid has no cells"),
    ({"attacks": ["toy"], "parameters": {"attack:toy.shfit": [1]}}, "did you mean 'shift'?"),
    ({"attacks": ["toy"], "parameters": {"shift": [1]}}, "parameters are called KIND:NAME.PARAMETER"),
    ({"attacks": ["toy"], "parameters": {"attack:tow.shift": [1]}}, "did you mean 'attack:toy'?"),
    ({"attacks": ["toy"], "parameters": {"attack:toy.shift": ["wide"]}}, "attack:toy.shift: Input should be a valid"),
    ({"attacks": ["toy"], "seeds": "0-999999"}, "a range goes from a smaller to a larger number"),
    ({"attacks": ["toy"], "seeds": "0-999", "parameters": {"attack:toy.shift": [*range(1000)]}}, "1,000,000 cells"),
    ({"attacks": ["toy"], "seeds": "many"}, "write seeds as whole numbers and ranges"),
    ({"attacks": ["toy"], "seeds": 1.5}, "write seeds as whole numbers and ranges, e.g. 0-2 (got 1.5)"),
    ({"attacks": ["toy"], "seeds": [1.0]}, "whole numbers and ranges, e.g. 0-2 (got 1.0)"),
    ({"attacks": ["toy"], "seeds": True}, "whole numbers and ranges, e.g. 0-2 (got True)"),
    ({"attacks": ["toy"], "seeds": [[1]]}, "whole numbers and ranges, e.g. 0-2 (got [1])"),
    ({"attacks": ["toy"], "seeds": [-1]}, "a seed is a whole number from 0 to 2147483647 (got -1)"),
    ({"attacks": ["toy"], "seeds": ["0-2", 1]}, "the seed 1 stands there twice"),
    ({"attacks": ["toy"], "models": ["a\0b"]}, "run option model: a name or reference is a text without control char"),
    ({"attacks": ["toy"], "models": ["hf:a\x1b/b@c"]}, "run option model: a name or reference"),
    ({"attacks": ["toy"], "data": ["a\0b"]}, "run option data: a name or reference is a text without control char"),
    ({"attacks": ["toy"], "data": [""]}, "run option data: a name or reference is a text without"),
    ({"attacks": ["t\0y"]}, "no attack 't\\x00y' is installed; did you mean 'toy'?"),
    ({"attacks": ["toy"], "options": {"metrics": ["a\0"]}}, "run option metrics: a name or reference"),
    ({"attacks": ["toy"], "options": {"params": 3}}, "the plan: params: write a mapping"),
    ({"attacks": ["toy"], "overrides": [{"when": {"attack": "toy"}, "set": {"params": [1]}}]}, "params: write a map"),
    ({"attacks": ["toy"], "overrides": [{"when": {"seed": 7}, "set": {}}]}, "overrides[0], when {seed: 7}, holds for"),
    ({"attacks": ["toy"], "exclude": [{"seed": [7]}]}, "exclude[0], when {seed: [7]}, holds for no cell"),
    ({"attacks": ["toy"], "options": {"params": {"attack:tow": {}}}}, "no cell of the plan has attack:tow; did you"),
    (
        {"attacks": ["toy"], "overrides": [{"when": {"attack": "toy"}, "set": {"params": {"attack:tow": {"x": 1}}}}]},
        "params of attack:tow: no cell of the plan has attack:tow; did you mean 'attack:toy'?",
    ),
    ({"attacks": ["toy"], "seeds": []}, "seeds: List should have at least 1 item"),
    ({"attacks": {"toy": 1}}, "attacks.0.toy"),
    ({"attacks": ["toy"], "options": {"data_shar": 1}}, "did you mean 'data_share'?"),
    ({"attacks": ["toy"], "options": {"data_share": 2}}, "run option data_share"),
    ({"attacks": ["toy"], "options": {"params": {"attack:toy": 3}}}, "params: write a mapping"),
    ({"attacks": ["toy"], "exclude": [{"attack": "toi"}]}, "a rule asks for attack 'toi'"),
    ({"attacks": ["toy"], "exclude": [{"atack": "toy"}]}, "did you mean 'attack'?"),
    ({"attacks": ["toy"], "exclude": [{}]}, "an empty rule holds for every cell"),
    ({"attacks": ["toy"], "exclude": [{"attack": "toy"}]}, "the plan has no cells: its excludes leave nothing"),
    ({"attacks": ["toy"], "defenses": ["elijah"]}, "no cell of the plan is possible"),
    ({"attacks": ["toy"], "options": {"device": "cuda:1"}}, "device cuda:1: write cuda"),
    ({"attacks": ["toy"], "models": ["builtin", "bultin"]}, "no model 'bultin' for task toy; did you mean 'builtin'?"),
    ({"attacks": ["toy"], "models": ["nowhere"]}, "no model 'nowhere' for task toy; built in are builtin"),
    ({"attacks": ["toy"], "combine": "both"}, "combine: Input should be 'grid' or 'zip'"),
    (CIRCLE, "it contains itself"),
]


@pytest.mark.parametrize(("fields", "message"), BAD, ids=[message for _, message in BAD])
def test_a_bad_plan_is_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BdmError) as caught:
        cells_of(plan_of(fields), Preparation())
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attacks: [toi]", "no attack 'toi' is installed; did you mean 'toy'?"),
        ("- toy", "holds no mapping"),
        ("", "holds no mapping of options: write e.g. 'attacks: [villan]'"),
        ("attacks: [toy", "cannot read plan.yaml"),
        ("attacks: &a [toy, *a]", "plan.yaml uses YAML aliases"),
        ("extends: plan.yaml", "plans extend each other in a circle: plan.yaml -> plan.yaml"),
        ("extends: [plan.yaml]", "extends: give the path of another plan"),
        ("defenses: [toy]", "attacks: name at least one"),
        ("attacks: [toy]\noptions: 3", "options: Input should be a valid dictionary"),
    ],
)
def test_a_bad_file_ends_with_2_before_anything_runs(fake_site: FakeSite, text: str, message: str) -> None:
    folder = fake_site.root.parent
    (folder / "plan.yaml").write_text(text)
    assert message in error_line(bdm(fake_site, "sweep", "plan.yaml"))
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("base", ["a\\0b", "a\\e[31mb", ""])
def test_a_base_that_no_path_can_be_is_one_line(fake_site: FakeSite, base: str) -> None:
    (fake_site.root.parent / "plan.yaml").write_text(f'{{extends: "{base}", attacks: [toy]}}')
    assert "extends: give the path of another plan" in error_line(bdm(fake_site, "sweep", "plan.yaml"))


def test_print_config_prints_a_plan_that_means_the_same(fake_site: FakeSite) -> None:
    folder = fake_site.root.parent
    options = ["--attack", "toy", "--defense", "toy,toy-rows", "--seeds", "0-1", "--set", "attack:toy.shift=9"]
    printed = bdm(fake_site, "sweep", *options, "--device", "cpu", "--print-config")
    (folder / "again.yaml").write_text(printed.stdout)
    plan = read_plan(folder / "again.yaml")
    as_json = json.loads(bdm(fake_site, "sweep", *options, "--device", "cpu", "--print-config", "--json").stdout)
    assert plan_of(as_json) == plan
    assert plan == Plan(
        attacks=["toy"],
        defenses=["toy", "toy-rows"],
        seeds="0-1",
        options={"device": "cpu", "params": {"attack:toy": {"shift": 9}}},
    )
