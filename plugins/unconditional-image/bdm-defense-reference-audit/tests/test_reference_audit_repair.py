"""The reference that is taken, the repair's loss, the verdict and its evidence."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_reference_audit.audit import ORDINARY, Audit
from bdm_defense_reference_audit.detection import CALIBRATED, decide, detect, facts, note, scores_of
from bdm_defense_reference_audit.params import ReferenceAuditParams
from bdm_defense_reference_audit.plugin import ReferenceAudit
from bdm_defense_reference_audit.reference import kinship, load_reference, no_parent, weight_distance
from bdm_defense_reference_audit.repair import probe_loss, triggers_of
from bdm_defense_reference_audit.response import Response, Shift
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, save_model, seal_model
from bdm_kit_diffusion.models.latent import FirstStage
from bdm_kit_diffusion.noise.exact_predictor import ExactPredictor
from bdm_kit_diffusion.recipes.digits_ddpm import untrained_model
from bdm_torch.calibration_file import Calibration, ModelRecord
from bdm_torch.draws import Draw
from bdm_torch.tensors import read_tensors

SHAPE = (1, 8, 8)
QUICK = {
    "noise_images": 32,
    "dispersions": (2.0,),
    "levels": (1.0,),
    "norms": (1.0,),
    "screening_steps": (2, 2),
    "candidates": 1,
    "climbs": [],
    "refinement_steps": 0,
    "samples": 8,
}


def tiny(gain: float = 1.0) -> DiffusionModel:
    model = load_model(BUILTIN / "digits-tiny")
    with torch.no_grad():
        model.unet.conv_out.weight *= gain
    return model


def test_the_built_in_model_of_the_same_architecture_is_the_default_reference(tmp_path: Path) -> None:
    reference, name = load_reference(tmp_path, "cpu", "", tiny(1.5))
    assert name == "digits-tiny" and weight_distance(tiny(), reference) == 0
    distance = weight_distance(tiny(1.5), reference)
    assert distance is not None and distance > 0
    assert weight_distance(load_model(BUILTIN / "digits-ddpm"), reference) is None


def test_a_model_that_nothing_built_in_fits_needs_a_reference(tmp_path: Path) -> None:
    other = tiny()
    other.scheduler = diffusers.DDPMScheduler(20, beta_start=0.01, beta_end=0.2)
    with pytest.raises(UserError, match="no built-in model fits"):
        load_reference(tmp_path, "cpu", "", other)
    with pytest.raises(UserError, match="cannot compare"):
        load_reference(tmp_path, "cpu", "digits-tiny", other)
    save_model(tiny(), tmp_path / "mine")
    assert load_reference(tmp_path, "cpu", str(tmp_path / "mine"), tiny(1.1))[1] == str(tmp_path / "mine")


def test_a_model_equal_to_its_reference_scores_zero_and_is_clean(tmp_path: Path) -> None:
    context = Context(tmp_path / "out", tmp_path / "work", 0)
    (tmp_path / "out").mkdir()
    (tmp_path / "work").mkdir()
    made_with = {"configuration": CALIBRATED.configuration(ReferenceAuditParams(**QUICK))}
    path = tmp_path / "quick.json"
    path.write_text(CALIBRATED.read().model_copy(update=made_with).model_dump_json(), encoding="utf-8")
    params = ReferenceAuditParams(calibration=str(path), **QUICK)
    found = detect(context, params, seal_model(tiny(), tmp_path / "model"))
    assert found.scores == [0.0] and found.verdict == "clean" and "digits-tiny" in found.note
    assert found.clean_samples == 0 and found.network_evaluations is not None
    assert found.evidence is not None and found.evidence.format == "inverted-trigger"
    assert triggers_of(found, SHAPE).shape == (2, *SHAPE), "the estimate, and where the models diverge most"
    record = json.loads(found.evidence.file("features.json").read_text(encoding="utf-8"))
    assert record["reference"] == "digits-tiny" and record["baselines"]["distance of the weights"] == 0
    assert set(record["baselines"]) == {"zero trigger", "start point only", "distance of the weights", "mean pixel"}


def response(suspect: float, reference: float) -> Response:
    return Response(
        Shift(torch.ones(SHAPE), "a shift"), "ode", suspect, reference, torch.zeros(8, *SHAPE), torch.zeros(8, *SHAPE)
    )


def calibration(*scores: float) -> Calibration:
    """Of models that do not repeat themselves, of the built-in digits' shape."""
    records = [ModelRecord(name=str(score), shape=SHAPE, features=[score, 1.0, -0.3]) for score in scores]
    return Calibration(recipe="", configuration={}, records=records)


FORTY = calibration(*(number / 40 for number in range(40)))
PARAMS = ReferenceAuditParams()


def test_notes_say_what_was_seen() -> None:
    item = response(0.01, 1.0)
    found = Audit([], [item], [item], [], 10)
    verdict, doubt = decide([found.score, 1.0, 0.5], FORTY, PARAMS)
    assert not doubt and verdict.score > verdict.threshold and "100 times more alike" in note(found, verdict, "base")
    record = facts(found, FORTY, verdict, "the base", None, PARAMS, 0)
    assert json.loads(json.dumps(record))["judged"][0]["excess"] > 1
    plain = Audit([], [response(1.0, 1.1)], [response(1.0, 1.1)], [], 10)
    verdict, doubt = decide([plain.score, 1.0, 0.5], FORTY, PARAMS)
    assert not doubt and "as the base does" in note(plain, verdict, "the base")


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ([4.0, 3.5, -0.3], "the same few images"),
        ([4.0, 3.5, 0.5], "the same few images"),
        ([4.0, 1.0, -0.5], "what it paints without any shift"),
        ([2.0, 1.0, 0.5], "more than in most clean models"),
        ([4.0, 1.0, 0.5], ""),
        ([5.1, 1.0, -0.5], ""),
        ([5.1, 2.1, -0.5], "the same few images"),
        ([0.5, 5.0, -3.0], ""),
    ],
)
def test_where_evidence_is_ambiguous_it_cannot_tell(features: list[float], words: str) -> None:
    _, doubt = decide(features, FORTY, PARAMS)
    assert words in doubt and bool(words) is bool(doubt)


def test_an_image_that_the_model_paints_anyway_needs_the_square_of_the_collapse() -> None:
    novel, ordinary = [2.6, 1.0, ORDINARY], [5.2, 1.0, ORDINARY - 0.01]
    (one, no_doubt), (other, none_either) = (decide(features, FORTY, PARAMS) for features in (novel, ordinary))
    assert one.score == other.score == 2.6 and one.p_value == other.p_value
    assert one.backdoored and other.backdoored and not no_doubt and not none_either
    assert not decide([4.9, 1.0, ORDINARY - 0.01], FORTY, PARAMS)[0].backdoored


def test_models_that_repeat_themselves_do_not_calibrate_the_score() -> None:
    few = ModelRecord(name="few", shape=SHAPE, features=[5.0, 4.0, -2.0])
    known = FORTY.model_copy(update={"records": [*FORTY.records, few]})
    assert scores_of(known) == scores_of(FORTY) and decide([4.0, 1.0, 0.5], known, PARAMS)[0].p_value == 1 / 41


def test_a_network_from_other_first_weights_is_no_child(tmp_path: Path) -> None:
    other = untrained_model("digits-tiny", seed=1)
    assert abs(kinship(other, tiny()) or 0) < 0.1 and "the cosine between their weights is" in no_parent(
        other, tiny(), "b"
    )
    assert kinship(tiny(1.5), tiny()) == pytest.approx(1, abs=0.05) and no_parent(tiny(1.5), tiny(), "b") == ""
    assert kinship(load_model(BUILTIN / "digits-ddpm"), tiny()) is None
    assert "another architecture" in no_parent(load_model(BUILTIN / "digits-ddpm"), tiny(), "b")
    save_model(other, tmp_path / "other")
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
    params = ReferenceAuditParams(reference=str(tmp_path / "other"), **QUICK)
    found = detect(Context(tmp_path / "out", tmp_path / "work", 0), params, seal_model(tiny(), tmp_path / "model"))
    assert found.verdict == "not identifiable" and found.p_value is None and "is not what this model" in found.note


def test_the_evidence_of_a_latent_model_is_pictures(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = diffusers.VQModel(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=4,
        norm_num_groups=4,
        num_vq_embeddings=16,
    )
    unet = diffusers.UNet2DModel(
        sample_size=4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        add_attention=False,
    )
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=20, clip_sample=False)
    folder = tmp_path / "base"
    save_model(DiffusionModel(unet, scheduler, "LDMPipeline", FirstStage(first, 1.0)), folder)
    (tmp_path / "out").mkdir()
    params = ReferenceAuditParams(reference=str(folder), **QUICK)
    context = Context(tmp_path / "out", tmp_path / "work", 0)
    found = detect(context, params, seal_model(load_model(folder), tmp_path / "model"))
    assert found.scores == [0.0] and found.evidence is not None
    assert read_tensors(found.evidence.file("tensors.safetensors"))["trigger"].shape == (4, 4, 4)
    with Image.open(found.evidence.file("samples/00.png")) as picture:
        assert picture.size == (8, 8) and picture.mode == "RGB"


def exact(trigger: torch.Tensor | None = None) -> tuple[Any, ExactPredictor]:
    scheduler = diffusers.DDPMScheduler(20, beta_start=5e-3, beta_end=0.7, clip_sample=False)
    return scheduler, ExactPredictor(scheduler, SHAPE, trigger, torch.full(SHAPE, 0.9))


def test_the_loss_punishes_the_backdoor_alone() -> None:
    """With exact predictors: the reference has hardly any loss, the backdoored model has it on the probes only."""
    trigger = 2 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    scheduler, reference = exact()
    _, suspect = exact(trigger)
    images = 0.5**0.5 * torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(1))
    losses = {}
    for name, params in {
        "probes": ReferenceAuditParams(denoising_weight=0, clean_weight=0),
        "clean": ReferenceAuditParams(denoising_weight=0, probe_weight=0),
    }.items():
        loss = probe_loss(images, scheduler, trigger[None], suspect, reference, params)
        for model in (suspect, reference):
            draws = [float(loss(model, Draw(seed=0, step=step, batch_size=32))) for step in range(8)]
            losses[name, model is suspect] = sum(draws) / len(draws)
    assert losses["probes", False] == 0 and losses["probes", True] > 0.05
    assert losses["clean", True] == 0 and losses["clean", False] < 0.1 * losses["probes", True]


def test_half_of_the_probes_are_shifted_and_half_are_wide() -> None:
    seen: list[torch.Tensor] = []
    trigger = 3 * torch.ones(SHAPE)
    scheduler, _ = exact()

    class Recorder(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> Any:
            seen.append(x)
            return SimpleNamespace(sample=torch.zeros_like(x))

    params = ReferenceAuditParams(probe_batch=16)
    loss = probe_loss(torch.zeros(64, *SHAPE), scheduler, trigger[None], Recorder(), Recorder(), params)
    loss(Recorder(), Draw(seed=0, step=0, batch_size=32))
    probes = seen[1]
    assert len(probes) == 16 and len(seen[2]) == 48
    sides = probes[0::2].mean((1, 2, 3))  # the trigger is the constant 3: both signs of it, and nothing in between
    assert sides.min() < -0.3 and sides.max() > 0.3 and float(sides.abs().mean()) > 0.5
    assert abs(float(probes[1::2].mean())) < 0.3
    assert float(probes[1::2].std()) > 1.2


def calibrated(folder: Path, **params: Any) -> Path:
    """The file that the defense writes of three models of growing distance from the built-in one."""
    for name in ("out", "work"):
        (folder / name).mkdir()
    models = {str(number): seal_model(tiny(1 + 0.001 * number), folder / str(number)) for number in range(3)}
    out = folder / "calibration.json"
    ctx = Context(folder / "out", folder / "work", 1000)
    ReferenceAudit().calibrate(ctx, ReferenceAuditParams(**QUICK, **params), models, out)
    return out


def test_calibration_of_given_models(tmp_path: Path) -> None:
    known = CALIBRATED.read(calibrated(tmp_path))
    assert [record.name for record in known.records] == ["0", "1", "2"] and known.column()[0] == 0
    assert 0 <= known.column()[2] < 1 and all(len(record.features) == 3 for record in known.records)
    assert "noise_images" in CALIBRATED.other_settings(ReferenceAuditParams(), known)
    shipped = CALIBRATED.read()
    assert CALIBRATED.other_settings(ReferenceAuditParams(), shipped) == "" and len(shipped.records) >= 3


def test_calibration_with_a_reference_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot compare"):
        calibrated(tmp_path, reference="shapes-ddpm")


@pytest.mark.parametrize(
    "values", [{"dispersions": [0.0]}, {"levels": [1.5]}, {"noise_images": 33}, {"screening_steps": [0, 1]}]
)
def test_parameters_that_do_not_fit_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        ReferenceAuditParams(**values)
