"""Every rule of the conformance kit is broken by a toy plugin, and exactly the tests of that rule notice it."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import bdm_core
from bdm_core import testing

HERE = Path(__file__).parent
KINDS = {
    "attacks": "Attack",
    "heavy": "Attack",
    "injections": "Attack",
    "defenses": "Defense",
    "access": "Defense",
    "metrics": "Metric",
    "observers": "Observer",
    "kits": "Kit",
}
BASES = [getattr(testing, f"{kind}Conformance") for kind in ("Attack", "Defense", "Metric", "Observer", "Kit")]


@dataclass(frozen=True, eq=False)
class Case:
    """A plugin, the tests that must fail on it (without ``test_``), and settings of its test class.

    Attributes:
        number: tells two cases of one plugin apart.
        installed: whether the plugin has an entry point.
        and_more: further tests may fail too, because no hook can be called.
    """

    kind: str
    plugin: str
    failing: frozenset[str]
    settings: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    installed: bool = True
    and_more: bool = False

    @property
    def module(self) -> str:
        """Which module of ``bdm_broken`` has the class."""
        return {"metrics": "others", "observers": "others"}.get(self.kind, self.kind)


def case(
    kind: str,
    plugin: str,
    *failing: str,
    number: int = 0,
    installed: bool = True,
    and_more: bool = False,
    **settings: Any,
) -> Case:
    return Case(kind, plugin, frozenset(failing), settings, number, installed, and_more)


CASES = [
    case("heavy", "Heavy", "light_import"),
    case("attacks", "NotInstalled", "entry_point", "task_entry_points", installed=False),
    case("attacks", "OldInterface", "api_version", "entry_point"),
    case("attacks", "NoSummary", "class_attributes"),
    case("attacks", "OtherBase", "class_attributes", and_more=True),
    case("attacks", "HasDefault", "signatures", and_more=True),
    case("attacks", "AlsoDefends", "signatures"),
    case("attacks", "AsksForMore", "signatures", and_more=True),
    case("attacks", "Undescribed", "parameters"),
    case("attacks", "NoDefault", "parameters", params={"steps": 6, "extra": 1}),
    case("attacks", "BadPreset", "parameters"),
    case("attacks", "OtherRate", "poisoned_share"),
    case("attacks", "Unrepeatable", "same_seed_same_result"),
    case("attacks", "IgnoresSeed", "other_seed_other_result"),
    case("attacks", "WritesBesideInput", "writes_only_below_out_and_work", "reads_only_its_inputs"),
    case("attacks", "WritesToCurrentFolder", "writes_only_below_out_and_work"),
    case("attacks", "ChangesInput", "inputs_unchanged"),
    case("attacks", "LooksAround", "reads_only_its_inputs"),
    case("attacks", "Pickles", "no_pickles"),
    case("attacks", "LeavesScratch", "artifacts_are_sealed"),
    case("attacks", "PoisonsLess", "poisoned_share"),
    case("attacks", "ForgetsRoles", "rows_have_roles"),
    case("attacks", "TriggersItself"),
    case("attacks", "SkipsOne", "every_input_gets_the_trigger", "triggered_inputs_keep_their_order"),
    case("attacks", "DropsOne", "every_input_gets_the_trigger", "triggered_inputs_keep_their_order"),
    case("attacks", "Reorders", "triggered_inputs_keep_their_order"),
    case("injections", "NamesItself", "model_does_not_name_the_attack"),
    case("injections", "NamesTrigger", "model_does_not_name_the_attack"),
    case("injections", "OtherTask", "artifacts_are_sealed"),
    case("injections", "ChangesAfterSealing", "artifacts_are_sealed"),
    case("injections", "SecretElsewhere", "artifacts_are_sealed"),
    case("injections", "SecretInModel", "secret_is_no_part_of_the_model"),
    case("injections", "NotFinite", "backdoored_model_runs"),
    case("injections", "StartsAgainWrongly", "interrupted_injection_continues"),
    case("injections", "SamplesWithoutSecret", "backdoored_model_runs"),
    case("injections", "EditsWeights"),
    case("injections", "OwnSampler"),
    case("injections", "KeepsView"),
    case("injections", "ViewsWithoutPoison", "rows_have_roles"),
    case("injections", "ViewsWithoutRoles", "rows_have_roles"),
    case("defenses", "AsksForSecret", "signatures", and_more=True),
    case("defenses", "SearchesSecret", "reads_only_its_inputs"),
    case("defenses", "OtherLevel", "level"),
    case("defenses", "TwoScores", "one_score_each"),
    case("defenses", "InfiniteThreshold", "scores_are_finite", "detection_survives_json", "same_seed_same_result"),
    case("defenses", "WrongProbability", "scores_are_finite", "detection_survives_json"),
    case("defenses", "UnexplainedDoubt", "scores_are_finite"),
    case("defenses", "CountsTooMany", "clean_samples_are_counted"),
    case("defenses", "LooksAtFirst", "order_of_suspects_does_not_matter"),
    case("defenses", "ChangesSuspects", "inputs_unchanged"),
    case("defenses", "JudgesInputs"),
    case("defenses", "JudgesPlaces", "order_of_suspects_does_not_matter"),
    case("defenses", "BreaksModel", "repair_keeps_a_clean_model_working"),
    case("defenses", "RepairsAtRandom", "same_seed_same_result"),
    case("defenses", "ChangesFormat", "repair_returns_a_model_like_the_given_one"),
    case("defenses", "NoHook", "signatures"),
    case("defenses", "RefusesClearly", needs_detection=True, given_detection=True),
    case(
        "defenses",
        "RefusesUnclearly",
        "missing_detection_is_refused_clearly",
        needs_detection=True,
        given_detection=True,
    ),
    case("access", "AsksWithoutAccess", "access"),
    case("access", "TouchesUndeclared", "access", and_more=True),
    case("access", "QueriesWithoutAccess", "one_score_each", and_more=True),
    case("access", "UnknownAccess", "access"),
    case("access", "RowsWithoutAccess", "access"),
    case("access", "PurifiesFewer", "purified_inputs_keep_their_rows"),
    case("access", "PurifiesReordered", "purified_inputs_keep_their_rows"),
    case("access", "FlagsTooFew", "rejections_are_flagged"),
    case("access", "RejectsAll", "rejections_are_flagged"),
    case("access", "ShowsEvidence"),
    case("access", "ShowsForeignFile", "evidence_is_illustrated"),
    case("metrics", "NotFinite", "values_are_finite_or_none", "same_seed_same_result"),
    case("metrics", "NoCount", "sample_counts_are_given"),
    case("metrics", "SameName", "names_are_unique"),
    case("metrics", "NoDirection", "directions_are_declared"),
    case("metrics", "NoDirection", number=1, undirected=frozenset({"mse"})),
    case("metrics", "NoDescription", "every_number_is_described"),
    case("metrics", "BeyondOne", "shares_lie_between_0_and_1"),
    case("metrics", "RateIsNoShare", "shares_lie_between_0_and_1"),
    case("metrics", "TwoHeadlines", "headline_numbers_are_unique"),
    case("metrics", "DividesByCount", "no_outputs_are_no_failure"),
    case("metrics", "WrongValue", "perfect_attack_scores_its_ideal", ideal={"mse": 0.0}),
    case("metrics", "MeasuresAtRandom", "same_seed_same_result"),
    case("metrics", "WritesIntoOutputs", "inputs_unchanged"),
    case("metrics", "NeedsDetection", "measures_something", and_more=True),
    case("metrics", "MeasuresNothing", "measures_something"),
    case("observers", "ExpectsOrder", "survives_any_order_of_events"),
    case("observers", "Divides", "survives_any_order_of_events"),
    case("observers", "WritesIntoStage", "survives_any_order_of_events"),
    case("kits", "NoTask", "entry_point", "task_entry_points", installed=False),
    case("kits", "NoCount", "rows_are_counted"),
    case("kits", "IgnoresSeed", "seed_decides_the_inputs"),
    case("kits", "Unrepeatable", "same_seed_same_result"),
    case("kits", "KeepsOrder", "selection_keeps_rows_and_order", "blind_selection_tells_no_source"),
    case("kits", "DropsRepeats", "selection_keeps_rows_and_order"),
    case("kits", "WritesLabels", "blind_selection_tells_no_source"),
    case("kits", "LeaksRoles", "blind_selection_hides_roles"),
    case("kits", "DropsRoles", "blind_selection_hides_roles"),
    case("kits", "InventsOutput", "no_inputs_no_outputs"),
    case("kits", "ListsTwice", "built_in_names_are_described"),
    case("kits", "NamesForeignData", "default_data_are_built_in"),
    case("kits", "AnswersForDefenses", "hooks_of_defenses_are_wrapped_only"),
    case("kits", "ListsForeignTask", "built_in_names_are_described"),
    case("kits", "KnowsNoModel", "models_are_recognised"),
    case("kits", "KnowsEveryFolder", "models_are_recognised"),
    case("kits", "ShowsNothing", "artifacts_are_illustrated"),
    case("kits", "ShowsOtherShape", "artifacts_are_illustrated"),
    case("kits", "ShowsHeavily", "showing_is_light"),
    case("kits", "ForgetsCell", "model_round_trip"),
    case("kits", "RoundsData", "data_round_trip"),
    case("kits", "NormalisesBatch", "outputs_do_not_depend_on_the_batch"),
    case("kits", "OneOutputShort", "outputs_fit_the_inputs"),
    case("kits", "TakesPickles", "refuses_pickled_weights"),
    case("kits", "TakesAnyFolder", "refuses_what_is_no_model"),
    case("kits", "FailsOnBadData", "refuses_what_is_no_data", "refuses_an_unknown_name"),
    case("kits", "TakesAnyName", "refuses_an_unknown_name"),
    case("kits", "NotPerfect", "metrics_can_be_tested"),
]


def write_site(site: Path, cases: list[Case]) -> None:
    """Install the broken plugins: their entry points, and an empty module named like a heavy one."""
    info = site / "bdm_broken-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.4\nName: bdm-broken\nVersion: 0.1.0\nSummary: Broken\n")
    groups: dict[str, list[str]] = {}
    for item in {(case.kind, case.plugin): case for case in cases if case.installed}.values():
        target = f"bdm_broken.{item.module}:{item.plugin}"
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", item.plugin).lower()
        groups.setdefault(f"bdm.{KINDS[item.kind].lower()}s", []).append(f"{name} = {target}")
        if item.kind != "observers":
            groups.setdefault("bdm.tasks", []).append(f"toy.{item.module}-{name} = {target}")
    text = "".join("\n".join([f"[{group}]", *lines]) + "\n" for group, lines in groups.items())
    (info / "entry_points.txt").write_text(text)
    (site / "sklearn.py").write_text("")


def write_tests(path: Path, cases: list[Case]) -> None:
    """One conformance test class for each case, in the order of the cases."""
    lines = ["from bdm_core import testing", "from bdm_core import Detection"]
    lines += [f"from bdm_broken import {module}" for module in sorted({item.module for item in cases})]
    for number, item in enumerate(cases):
        settings = dict(item.settings)
        lines += ["", f"class Test{number}(testing.{KINDS[item.kind]}Conformance):"]
        lines += [f"    plugin = {item.module}.{item.plugin}"]
        if settings.pop("given_detection", False):
            lines += ["    def given_detection(self, bench):"]
            lines += ["        return Detection(level='model', scores=[1.0], threshold=0.5)"]
        lines += [f"    {name} = {value!r}" for name, value in settings.items()]
    path.write_text("\n".join(lines) + "\n")


def run_cases(folder: Path, cases: list[Case]) -> dict[Case, tuple[set[str], set[str]]]:
    """Case -> names of its tests that passed, and of those that failed, from one pytest process."""
    write_site(folder / "site", cases)
    write_tests(folder / "test_broken.py", cases)
    roots = [folder / "site", HERE / "toy_broken", HERE / "toy", Path(bdm_core.__file__).parents[1]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots)), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    options = ["-q", "--tb=line", "--junitxml=result.xml", f"--rootdir={folder}", "-o", "addopts="]
    command = [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", "test_broken.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    results: dict[Case, tuple[set[str], set[str]]] = {item: (set(), set()) for item in cases}
    for entry in ElementTree.parse(folder / "result.xml").iter("testcase"):
        item = cases[int(entry.attrib["classname"].rpartition("Test")[2])]
        failed = entry.find("failure") is not None or entry.find("error") is not None
        results[item][failed].add(entry.attrib["name"].removeprefix("test_"))
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, tuple[set[str], set[str]]]:
    """What the conformance kit says of every case. Kits run apart: each of them claims the task."""
    plugins = [item for item in CASES if item.kind != "kits"]
    kits = [item for item in CASES if item.kind == "kits"]
    return {
        **run_cases(tmp_path_factory.mktemp("plugins"), plugins),
        **run_cases(tmp_path_factory.mktemp("kits"), kits),
    }


@pytest.mark.parametrize("item", CASES, ids=lambda item: f"{item.kind}-{item.plugin}-{item.number}")
def test_exactly_the_broken_rule_is_noticed(item: Case, results: dict[Case, tuple[set[str], set[str]]]) -> None:
    passed, failed = results[item]
    if item.and_more:
        assert failed >= item.failing
        assert passed, "the tests of other rules still run"
    else:
        assert failed == item.failing


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_every_rule_is_broken_by_some_plugin(base: type) -> None:
    """No test of the conformance kit exists that nothing has ever failed."""
    names = {name.removeprefix("test_") for name, _ in inspect.getmembers(base) if name.startswith("test_")}
    broken = {name for item in CASES for name in item.failing}
    assert names <= broken, f"no broken plugin for {sorted(names - broken)}"
