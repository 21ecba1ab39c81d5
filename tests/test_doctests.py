"""The examples in docstrings run, and every function that a plugin's author calls has one."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("bdm-torch", "bdm-diffusers", "bdm-tracking", "bdm-language-model")
PACKAGES = [
    ROOT / "bdm_core",
    ROOT / "cli" / "bdm_results",
    *(
        folder / folder.name.replace("-", "_")
        for folder in sorted(ROOT.glob("plugins/*/bdm-*"))
        if folder.name in LIBRARIES or folder.name.startswith("bdm-kit-")
    ),
]
"""The packages that plugins import: the core, libraries, kits."""
MODULES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]
WITH_EXAMPLES = [path for path in MODULES if ">>> " in path.read_text(encoding="utf-8")]
FOR_AUTHORS = {
    "bdm_core": "errors api",
    "bdm_torch": "tensors references images image_sets training draws calibration features diversity statistics "
    "pictures.drawing pictures.targets pictures.triggers",
    "bdm_diffusers": "samplers sampling coefficients",
    "bdm_kit_diffusion": "poison.poisoning poison.backdoor_training poison.secret poison.target_classes "
    "noise.noise_levels noise.denoising noise.initial_noise models.diffusion_model data.built_in_data "
    "inversion.starts inversion.evidence inversion.trigger_inversion inversion.removal inversion.calibration",
    "bdm_kit_classification": "data.samples models.classifier predictions training.fitting "
    "triggers.patch triggers.trigger triggers.batch_labels triggers.frequency poison.poisoning poison.injection",
    "bdm_kit_text_to_image": "prompts.prompt_rows prompts.prompt_pairs prompts.captions prompts.secret "
    "prompts.triggers prompts.marking prompts.selection models.generation models.latents models.encoding "
    "models.text_to_image_model editing.projections editing.alignment attention.cross_attention judging.generated "
    "judging.attributes judging.contrastive training.distances training.distillation "
    "training.encoder_distillation training.personalisation",
}
"""Package -> the modules whose public functions all have an example."""
CANNOT_RUN_HERE = {"fetch_snapshot", "perceptual_distances"}
"""They need the network."""


def name_of(path: Path) -> str:
    package = next(folder for folder in PACKAGES if path.is_relative_to(folder))
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=name_of)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name_of(path))
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for number, example in enumerate(doctest.DocTestFinder(exclude_empty=True).find(module)):
        if example.examples:
            folder = tmp_path / str(number)
            folder.mkdir()
            monkeypatch.chdir(folder)
            said: list[str] = []
            runner.run(example, out=said.append)
            assert runner.failures == 0, "".join(said)
    assert runner.tries > 0


@pytest.mark.parametrize(
    "name", [f"{package}.{module}" for package, modules in FOR_AUTHORS.items() for module in modules.split()]
)
def test_what_authors_call_has_an_example(name: str) -> None:
    path = next(path for path in MODULES if name_of(path) == name)
    functions = {
        node.name: ast.get_docstring(node) or ""
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert {name for name, text in functions.items() if ">>> " not in text} <= CANNOT_RUN_HERE
