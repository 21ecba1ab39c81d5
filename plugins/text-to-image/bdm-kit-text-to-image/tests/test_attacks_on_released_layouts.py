"""Every attack on pipelines laid out as Stable Diffusion 1.5, 2.1 and XL: one step, sealed, read by diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from bdm_core.discovery.candidates import find
from bdm_core.hooks import implements
from bdm_core.run.specification import build_params
from bdm_core.testing import Bench
from bdm_kit_text_to_image.models.untrained import RELEASES, write_untrained
from bdm_kit_text_to_image.plugin import TextToImageKit

ATTACKS: dict[str, dict[str, Any]] = {
    "rickrolling": {"steps": 1, "clean_batch_size": 2, "poisoned_samples_per_step": 2},
    "badt2i": {"mode": "style", "steps": 1, "batch_size": 2},
    "badblocks": {"steps": 1, "batch_size": 2, "poison_rate": 0.25, "threshold": 4.0},
    "eviledit": {"preserved_captions": 4},
    "sembd": {"preserved_captions": 4, "paraphrases": 3, "held_out": 4},
    "paas": {"steps": 1, "batch_size": 2, "target_object": "diamond", "images": 2},
    "bibaddiff": {"steps": 1, "batch_size": 2, "poison_rate": 0.25, "trigger": "blend"},
    "bdm-attack-villan-text-to-image:villan": {"steps": 1, "batch_size": 2, "lora_r": 2},
}


class ReleaseBench(Bench):
    """A bench whose model is laid out as a release."""

    @property
    def model(self) -> Any:
        return self._kit_call("model", "open_model", reference=str(self.root / "released"))

    @property
    def weights(self) -> dict[str, Tensor]:
        """The clean model's weights as diffusers reads them."""
        return self.once("weights", lambda: weights_of(read(self.model.path)))


def read(folder: Path) -> Any:
    """The pipeline with its LoRA and embeddings, by nothing but diffusers."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    if (folder / "lora").is_dir():
        pipeline.load_lora_weights(folder / "lora")
    if (folder / "embeddings").is_dir():
        pipeline.load_textual_inversion(folder / "embeddings", weight_name="learned_embeds.safetensors")
    return pipeline


def weights_of(pipeline: Any) -> dict[str, Tensor]:
    parts = [name for name in ("text_encoder", "text_encoder_2", "unet") if getattr(pipeline, name, None) is not None]
    return {f"{part}.{key}": item for part in parts for key, item in getattr(pipeline, part).state_dict().items()}


@pytest.fixture(scope="module", params=RELEASES)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ReleaseBench:
    root = tmp_path_factory.mktemp(request.param) / "root"
    made = ReleaseBench(root, TextToImageKit(), "text-to-image", {"prompts": 2, "most_images": 8, "steps": 1})
    write_untrained(made.root / "released", request.param)
    return made


@pytest.mark.parametrize("name", ATTACKS)
def test_one_step(bench: ReleaseBench, name: str) -> None:
    attack = find("attack", name).load()
    params = build_params(attack, ATTACKS[name], {})
    poisoned = None
    if implements(attack, "poison_data"):
        poisoned = bench.call("poison_data", [attack], params, data=bench.data).value
    made = bench.call("inject_backdoor", [attack], params, model=bench.model, data=poisoned or bench.data).value
    clean, backdoored = bench.weights, weights_of(read(made.model.path))
    assert clean.keys() != backdoored.keys() or any(not torch.equal(clean[key], backdoored[key]) for key in clean)
