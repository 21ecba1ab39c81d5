"""Conformance tests of defenses of classifiers, beside those of all defenses."""

from __future__ import annotations

from typing import Any, ClassVar

from bdm_core.artifacts import Data, Model
from bdm_core.hooks import implements
from bdm_core.testing import DefenseConformance
from bdm_core.testing.tiny import Bench, Call
from bdm_kit_classification.data.samples import RESERVE, TEST
from bdm_kit_classification.defending.pruning import kept_sweep
from bdm_kit_classification.models.classifier import load_classifier


class ClassifierDefenseConformance(DefenseConformance):
    """What every defense of classifiers must satisfy; subclass it instead of ``DefenseConformance``.

    Hooks are called with the kit beside the defense, as in a run, so that passes are counted.

    Attributes:
        inserts: whether a repair may add layers that ``models.inserted`` puts in and ``config.json`` names.
    """

    task = "image-classification"
    inserts: ClassVar[bool] = False

    def run(self, bench: Bench, hook: str, seed: int, **inputs: Any) -> Call:
        """One watched call of a hook, wrapped by the kit; the stage's figures are kept for the tests."""
        inputs = {**self.granted(bench, hook), **inputs}
        kept: dict[str, Any] = {}
        ctx = self.context(bench, hook, seed) or bench.context(hook.replace("_", "-"), seed)
        object.__setattr__(ctx, "on_figures", kept.update)
        call = bench.call(hook, [self.subject, bench.kit], self.chosen_params, ctx=ctx, seed=seed, **inputs)
        self.figures_of(bench)[id(call)] = kept
        return call

    @staticmethod
    def figures_of(bench: Bench) -> dict[int, dict[str, Any]]:
        """What the calls kept, by their ``id``."""
        return bench.once("figures", dict)

    def training_data(self, bench: Bench, shuffle: int = 0) -> Data:
        """The training rows, as a run hands them over: no test rows, no reserve."""
        data = super().training_data(bench, shuffle)
        assert not {TEST, RESERVE} & set(data.meta)
        return data

    def test_no_evaluation_rows_are_reachable(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            for artifact in call.given:
                found = {TEST, RESERVE} & set(artifact.meta) if isinstance(artifact, Data) else set()
                assert not found, f"{name} was given data with the parts {sorted(found)}"

    def test_cost_is_counted(self, bench: Bench) -> None:
        for name, call in self.calls(bench).items():
            cost = self.figures_of(bench)[id(call)].get("cost", {})
            wanted = {"forward_passes", "backward_passes", "clean_samples"}
            assert set(cost) == wanted, f"{name}: the kit's count is {cost}; leave the figure 'cost' to it"
            assert all(isinstance(number, int) and number >= 0 for number in cost.values()), f"{name}: {cost}"
            if "clean-data" not in self.subject.access:
                assert cost["clean_samples"] == 0, f"{name} used clean rows without the access 'clean-data'"

    def test_repaired_model_is_of_the_same_architecture(self, bench: Bench) -> None:
        before = load_classifier(bench.model)
        for name, call in self.calls(bench).items():
            if isinstance(call.value, Model):
                after = load_classifier(call.value)
                assert after.classes == before.classes, f"{name} changed the classes to {after.classes}"
                assert after.trained_on == before.trained_on, f"{name} changed what the model was trained on"
                shapes = [
                    {
                        key: tuple(value.shape)
                        for key, value in model.state_dict().items()
                        if not (self.inserts and key.startswith("network.inserted."))
                    }
                    for model in (before, after)
                ]
                assert shapes[0] == shapes[1], f"{name} changed the architecture"

    def test_what_is_kept_of_a_sweep_can_be_read(self, bench: Bench) -> None:
        modules = dict(load_classifier(bench.model).named_modules())
        for name, call in self.calls(bench).items():
            kept = kept_sweep(self.figures_of(bench)[id(call)])
            if kept is not None:
                sweep, chosen = kept
                assert len(sweep.values) == len(sweep.steps), f"{name}: a value for each candidate"
                assert -1 <= chosen < len(sweep.steps), f"{name}: candidate {chosen} of {len(sweep.steps)}"
                unknown = {key for step in sweep.steps for key in step} - set(modules)
                assert not unknown, f"{name}: the sweep names the modules {sorted(unknown)}, which there are not"

    def test_hooks_are_the_defenses_own(self) -> None:
        hooks = [hook for hook in ("detect", "purify_inputs", "repair") if implements(self.subject, hook)]
        wrapped = [hook for hook in hooks if getattr(self.subject, hook).bdm_impl["wrapper"]]
        assert not wrapped, f"{', '.join(wrapped)} must answer, not wrap"
