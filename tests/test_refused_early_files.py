"""Files, folders and keys that are not there are refused before anything is trained, by metrics and defenses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bdm_core.artifacts import Model
from bdm_core.discovery.candidates import find
from bdm_core.errors import BdmError, UserError
from bdm_kit_classification.built_in import BUILTIN as CLASSIFIERS
from bdm_kit_diffusion.models.diffusion_model import open_reference
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model

PROMPTS, NOISE, IMAGES = "text-to-image", "unconditional-image-generation", "image-classification"
LOCAL = {"base_url": "http://localhost:1/v1"}
METRICS: list[tuple[str, str, dict[str, Any], str]] = [
    ("judge", PROMPTS, {}, "metric:judge: the environment variable OPENAI_API_KEY holds no key"),
    ("judge", PROMPTS, {"model": None, **LOCAL}, "metric:judge: no model is named"),
    ("judge", PROMPTS, {"classifier": "nowhere", **LOCAL}, "nowhere holds no attribute classifier"),
    ("attributes", PROMPTS, {"classifier": "nowhere"}, "nowhere holds no attribute classifier"),
    ("classifier", PROMPTS, {"model": "nowhere"}, "metric:classifier.model: no folder 'nowhere'"),
    ("classifier", PROMPTS, {"label_map": "nowhere"}, "metric:classifier.label_map: no file 'nowhere'"),
    ("clip-score", PROMPTS, {"model": "nowhere"}, "metric:clip-score.model: no folder 'nowhere'"),
    ("lpips", PROMPTS, {"network": "nowhere"}, "metric:lpips.network: no folder 'nowhere'"),
    ("precision-recall", PROMPTS, {"features": "nowhere"}, "no feature space 'nowhere'"),
    ("frechet", PROMPTS, {"features": "nowhere"}, "no feature space 'nowhere'"),
    ("frechet", NOISE, {"features": "nowhere"}, "no feature space 'nowhere'"),
    ("pre-activation", PROMPTS, {"clean_model": "nowhere"}, "nowhere"),
    ("pre-activation", NOISE, {"clean_model": "nowhere"}, "nowhere"),
    ("verification", "audio-classification", {"others": "nowhere"}, "no data 'nowhere'"),
]
DEFENSES: list[tuple[str, str, dict[str, Any], str]] = [
    ("blackmirror", PROMPTS, {"oracle": "model"}, "blackmirror with oracle=model needs a model"),
    ("blackmirror", PROMPTS, {"oracle": "model", "model": "m"}, "defense:blackmirror: the environment variable OPENAI"),
    ("blackmirror", PROMPTS, {"classifier": "nowhere"}, "nowhere holds no attribute classifier"),
    ("ufid", PROMPTS, {"features": "nowhere"}, "there are no features 'nowhere'"),
    ("t2ishield", PROMPTS, {"features": "nowhere"}, "there are no features 'nowhere'"),
    ("t2ishield", PROMPTS, {"method": "cda", "examples": "nowhere"}, "cannot read the examples nowhere"),
    ("prompt-audit", PROMPTS, {"contrastive": "nowhere"}, "no folder 'nowhere' with a CLIP model"),
    (
        "text-perturbation",
        PROMPTS,
        {"steps": ["translate"], "translators": ["model Spanish", "model English"], "model": "m"},
        "defense:text-perturbation: the environment variable OPENAI_API_KEY holds no key",
    ),
    ("reference-audit", NOISE, {"reference": "nowhere"}, "no model 'nowhere'"),
    ("elijah", NOISE, {"decision": "random-forest"}, "needs at least 3 clean and 3 backdoored models"),
    ("classifier-audit", IMAGES, {"reference": "nowhere"}, "no model 'nowhere'"),
    ("mntd", IMAGES, {"meta_classifier": "nowhere"}, "nowhere has no meta.safetensors"),
    ("onion", "text-classification", {"language_model": "nowhere"}, "language_model nowhere is no folder"),
    *((name, NOISE, {"calibration": "nowhere"}, "cannot read the calibration nowhere") for name in ("elijah", "terd")),
    *(
        (name, NOISE, {"calibration": "nowhere"}, "cannot read the calibration nowhere")
        for name in ("reference-audit", "diff-cleanse")
    ),
    *(
        (name, IMAGES, {"calibration": "nowhere"}, "cannot read the calibration nowhere")
        for name in ("classifier-audit", "free-eagle", "last-layer-scan", "neural-cleanse", "tabor")
    ),
]


@pytest.fixture(autouse=True)
def _nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """A model of each task, as a run opens it before the attack."""
    folder = tmp_path_factory.mktemp("models")
    found = {
        PROMPTS: seal_model(tiny_model(), folder / "prompts"),
        NOISE: open_reference("digits-tiny", folder / "noise", folder / "cache"),
    }
    for task, name in ((IMAGES, "tiny"), ("text-classification", "tiny-text"), ("audio-classification", "tiny-audio")):
        (folder / name).mkdir()
        for path in (CLASSIFIERS / name).iterdir():
            (folder / name / path.name).write_bytes(path.read_bytes())
        found[task] = Model.seal(folder / name, format="classifier", task=task)
    return found


@pytest.mark.parametrize(("name", "task", "params", "message"), METRICS)
def test_metrics_refuse(name: str, task: str, params: dict[str, Any], message: str, models: dict[str, Model]) -> None:
    metric = find("metric", name, task).load()
    with pytest.raises(BdmError, match=message) as caught:
        metric.check_model(metric.Params(**params), models[task])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "task", "params", "message"), DEFENSES)
def test_defenses_refuse(name: str, task: str, params: dict[str, Any], message: str, models: dict[str, Model]) -> None:
    defense = find("defense", name, task).load()
    with pytest.raises(BdmError, match=message) as caught:
        defense.check(defense.Params(**params), 200)
        defense.check_model(defense.Params(**params), models[task])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "task"), [row[:2] for row in METRICS if row[0] != "judge"])
def test_what_nobody_set_is_accepted(name: str, task: str, models: dict[str, Model]) -> None:
    metric = find("metric", name, task).load()
    metric.check_model(metric.Params(), models[task])


def test_a_judge_with_a_key_or_of_this_machine_is_accepted(
    models: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = find("metric", "judge", PROMPTS).load()
    metric.check_model(metric.Params(**LOCAL), models[PROMPTS])
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    metric.check_model(metric.Params(), models[PROMPTS])


def test_a_map_of_labels_is_held_against_the_classifier(tmp_path: Path, models: dict[str, Model]) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.ViTConfig(image_size=16, patch_size=8, id2label={0: "cat", 1: "dog"}, **sizes)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    metric = find("metric", "classifier", PROMPTS).load()
    (tmp_path / "map.json").write_text(json.dumps({"cat": "cat", "1": ["dog"]}))
    params = metric.Params(model="vit", label_map="map.json")
    metric.check_model(params, models[PROMPTS])
    (tmp_path / "map.json").write_text(json.dumps({"horse": "horse"}))
    with pytest.raises(UserError, match="the classifier has no label 'horse'"):
        metric.check_model(params, models[PROMPTS])


def test_extras_that_are_not_installed_are_said(models: dict[str, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, task, params in (
        ("precision-recall", PROMPTS, {"features": "inception"}),
        ("frechet", NOISE, {"features": "inception"}),
        ("target", NOISE, {"lpips": True}),
        ("feature-analysis", IMAGES, {"projection": "umap"}),
    ):
        metric = find("metric", name, task).load()
        with pytest.raises(UserError, match="pip install"):
            metric.check_model(metric.Params(**params), models[task])
    for task in (NOISE, PROMPTS):
        defense = find("defense", "elijah", task).load()
        with pytest.raises(UserError, match="pip install"):
            defense.check(defense.Params(distance="lpips"), 200)
