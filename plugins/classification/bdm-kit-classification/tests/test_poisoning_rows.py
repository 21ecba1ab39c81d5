"""Selection, roles, label rules, secrets and the export."""

import dataclasses
import json
from importlib.metadata import entry_points

import pytest
import torch

from bdm_core.errors import ArtifactError, UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.poison.export import export_rows
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.poison.secret import read_backdoor
from bdm_kit_classification.poison.selection import plan_rows
from bdm_kit_classification.rows import select
from bdm_kit_classification.triggers.blend import Blend
from bdm_kit_classification.triggers.label_rule import LabelRule, make_rule
from bdm_kit_classification.triggers.patch import square
from bdm_kit_classification.triggers.trigger import _class_of

LABELS = [row % 5 for row in range(100)]


def rows(count=100):
    pictures = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([row % 5 for row in range(count)])
    facts = [{"id": row} for row in range(count)]
    return LabelledSamples(pictures, labels, list("abcde"), "image-classification", facts)


@pytest.mark.parametrize(
    ("kind", "selection", "able"),
    [
        ("all-to-one", "auto", {1, 2, 3, 4}),
        ("all-to-one", "any", {0, 1, 2, 3, 4}),
        ("all-to-all", "auto", {0, 1, 2, 3, 4}),
        ("source-specific", "auto", {3}),
        ("clean-label", "auto", {0}),
        ("untargeted", "auto", {0, 1, 2, 3, 4}),
    ],
)
def test_selection(kind, selection, able):
    rule = make_rule(kind, 5, 0, [3])
    plan = plan_rows(LABELS, rule, PoisonParams(poison_rate=0.2, selection=selection), 0)
    found = {LABELS[row] for row in plan.poison}
    assert found <= able and len(plan.poison) == 20
    assert plan != plan_rows(LABELS, rule, PoisonParams(poison_rate=0.1, selection=selection), 0)


def test_impossible_rates_are_one_line():
    rule = make_rule("clean-label", 5, 0, [])
    with pytest.raises(UserError, match=r"poison_rate 0.3 asks for 30 rows, there are 20 of the target class"):
        plan_rows(LABELS, rule, PoisonParams(poison_rate=0.3), 0)
    half = plan_rows(LABELS, rule, PoisonParams(target_class_share=0.5), 0)
    assert len(half.poison) == 10
    with pytest.raises(UserError, match="more than the 80 rows that are left"):
        plan_rows(LABELS, rule, PoisonParams(poison_rate=0.2), 0, cover_rate=0.9)
    with pytest.raises(UserError, match="there is no target class 5"):
        make_rule("all-to-one", 5, 5, [])
    for rate in (0.0, 0.004):
        with pytest.raises(UserError, match=rf"poison_rate {rate:g} of 100 rows is no row: raise it"):
            plan_rows(LABELS, rule, PoisonParams(poison_rate=rate), 0)
    with pytest.raises(UserError, match=r"no training row may be poisoned: selection sources leaves none"):
        plan_rows(LABELS, rule, PoisonParams(selection="sources"), 0)
    with pytest.raises(UserError, match=r"target_class_share 0.02 of 20 rows is no row"):
        plan_rows(LABELS, rule, PoisonParams(target_class_share=0.02), 0)


@pytest.mark.parametrize("attack", ["combat", "low_frequency", "narcissus", "poison_ink", "ssba"])
@pytest.mark.parametrize(("given", "message"), [({"target": 99}, "no target class 99"), ({"poison_rate": 0}, "no row")])
def test_attacks_that_train_first_refuse_before_they_train(attack, given, message, tmp_path, monkeypatch):
    method = pytest.importorskip(f"bdm_attack_{attack}.attack")
    for name in ("train_surrogate", "train_hiding"):
        monkeypatch.setattr(method, name, lambda *_: pytest.fail("trained"), raising=False)
    plugin = next(item for item in entry_points(group="bdm.attacks") if item.name == attack.replace("_", "-")).load()
    data = seal_samples(tmp_path / "data", rows())
    given = {"target_class_share": None, **given} if "poison_rate" in given else given
    with pytest.raises(UserError, match=message):
        method.poison(new_context(tmp_path), plugin.Params(**given), data)


def test_a_rate_of_just_zero_is_a_control(tmp_path):
    data = seal_samples(tmp_path / "data", rows())
    trigger = square([1, 8, 8], size=2, corner="top-left", margin=0, value=0.0)
    made = open_samples(poison_training_rows(new_context(tmp_path), PoisonParams(poison_rate=0), data, trigger))
    assert set(made.roles) == {"clean"} and torch.equal(made.raw(), rows().raw())
    with pytest.raises(UserError, match="is no row"):
        poison_training_rows(new_context(tmp_path / "b"), PoisonParams(poison_rate=0.004), data, trigger)


def test_roles_labels_and_originals(tmp_path):
    samples = rows()
    data = seal_samples(tmp_path / "data", samples, parts={"reserve": rows(10), "test": rows(10)})
    trigger = square([1, 8, 8], size=2, corner="top-left", margin=0, value=0.0)
    negative = Blend(torch.ones(1, 8, 8), 0.5, 0.5)
    params = PoisonParams(poison_rate=0.1, target=2)
    rates = {"cover": 0.05, "negative": 0.07}
    made = poison_training_rows(new_context(tmp_path / "p"), params, data, trigger, negative=negative, rates=rates)
    found = open_samples(made)
    count = {role: found.roles.count(role) for role in ("clean", "poison", "cover", "negative")}
    assert count == {"clean": 78, "poison": 10, "cover": 5, "negative": 7}
    assert set(made.meta) == {"count", "classes", "shape", "originals"}, "no reserve and no test"
    for row, role in enumerate(found.roles):
        before, after, label = samples.raw([row])[0], found.raw([row])[0], int(samples.labels[row])
        if role in ("poison", "cover"):
            assert float(after[:, :2, :2].sum()) == 0 and torch.equal(after[:, 2:], before[:, 2:])
        elif role == "negative":
            assert (after - (before + 1) / 2).abs().max() <= 0.5 / 255 + 1e-6
        else:
            assert torch.equal(before, after)
        assert int(found.labels[row]) == (2 if role == "poison" else label)
        assert found.facts[row].get("true_label", label) == label
    originals = open_samples(made, "originals")
    changed = [row for row, role in enumerate(found.roles) if role != "clean"]
    assert torch.equal(originals.stored, samples.stored[changed])
    again = read_backdoor(made)
    assert again.rule.target == 2 and torch.equal(again.trigger.mask, trigger.mask)
    assert again.negative.test_opacity == 0.5
    blind = select(new_context(tmp_path / "s"), [made], list(range(100)), True)
    assert all(set(json.loads(line)) == {"label"} for line in blind.file("rows.jsonl").read_text().splitlines())
    assert sorted(blind.files) == ["rows.jsonl", "samples.safetensors"]


def test_clean_rows_go_through_the_same_preprocessing(tmp_path):
    """A trigger that changes nothing leaves every bit, so that nothing but the trigger tells poison from clean."""
    samples = rows()
    data = seal_samples(tmp_path / "data", samples)
    nothing = square([1, 8, 8], size=2, corner="centre", margin=0, value=1.0)
    nothing = dataclasses.replace(nothing, mask=torch.zeros(1, 8, 8))
    made = poison_training_rows(new_context(tmp_path / "p"), PoisonParams(poison_rate=0.5), data, nothing)
    assert torch.equal(open_samples(made).stored, samples.stored)


def test_untargeted_labels_are_wrong(tmp_path):
    samples = rows()
    data = seal_samples(tmp_path / "data", samples)
    trigger = square([1, 8, 8], size=2, corner="centre", margin=0, value=1.0)
    params = PoisonParams(poison_rate=0.5, label_rule="untargeted")
    found = open_samples(poison_training_rows(new_context(tmp_path / "p"), params, data, trigger))
    poisoned = torch.tensor([role == "poison" for role in found.roles])
    assert bool((found.labels[poisoned] != samples.labels[poisoned]).all())
    assert len(set(((found.labels - samples.labels) % 5)[poisoned].tolist())) == 4


def test_export_is_loadable_by_datasets(tmp_path):
    datasets = pytest.importorskip("datasets")
    data = seal_samples(tmp_path / "data", rows(10))
    trigger = square([1, 8, 8], size=2, corner="centre", margin=0, value=1.0)
    made = poison_training_rows(new_context(tmp_path / "p"), PoisonParams(poison_rate=0.3), data, trigger)
    assert export_rows(made, tmp_path / "out", ("poison",)) == 3
    table = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    found = table["train"]
    assert set(found["role"]) == {"poison"} and set(found["label"]) == {0} and 0 not in found["true_label"]
    samples = open_samples(made)
    for row in found:
        pixels = torch.tensor(list(row["image"].convert("L").getdata()), dtype=torch.uint8).view(1, 8, 8)
        assert torch.equal(pixels, samples.stored[row["row"]])


def test_only_triggers_of_installed_attacks_are_imported():
    with pytest.raises(ArtifactError, match="no installed attack"):
        _class_of("os:system")
    with pytest.raises(ArtifactError, match="is no trigger"):
        _class_of("bdm_kit_classification.rows:select")


def test_rule_of_a_secret_is_strict():
    assert LabelRule.model_validate_json('{"kind": "all-to-one", "classes": 3, "target": 1}').wanted(2) == 1
