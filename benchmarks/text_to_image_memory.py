"""Peak memory of the stages on a full-size Stable Diffusion 1.x folder: `python benchmarks/text_to_image_memory.py`.

Writes a folder of SD 1.5's sizes with random weights (parameters: UNet 860 M, text encoder 123 M, autoencoder 84 M),
in fp16 and again in fp32, then runs each stage in a process of its own, as the hooks do, and records the process's
peak resident set, the interpreter and torch included. Nothing is downloaded; a random model's pictures mean nothing;
generation and training at this size are not measured. Results: ``benchmarks/results/text_to_image_memory.json``.
Needs 20 GB of disk, up to 10 GB of memory, and some minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_kit_text_to_image.models import untrained

RESULTS = Path(__file__).parent / "results" / "text_to_image_memory.json"
GB = 1e9
MUST = {"data_gb": 1.5, "edit_times_model": 2.2}
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
VOCABULARY = 49408
STAGES = ("model", "data", "eviledit", "sembd", "badt2i pixel data", "bibaddiff data", "captions")
"""``captions``: what an attack that reads captions only has of the data, e.g. rickrolling."""
EDITS = ("eviledit", "sembd")


def write_full_size(folder: Path, dtype: torch.dtype) -> dict[str, int]:
    """SD 1.5's configuration at its own widths, random weights; returns parameters by part."""
    untrained.write_untrained(folder, "sd-1.5")  # tokenizer, scheduler and index; the networks are replaced
    counts = {}
    for part, build in {"unet": _unet, "vae": _vae, "text_encoder": _text_encoder}.items():
        shutil.rmtree(folder / part)
        network = build().to(dtype)
        network.save_pretrained(folder / part)
        counts[part] = sum(parameter.numel() for parameter in network.parameters())
        del network
    return counts


def _unet() -> Any:
    return UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(320, 640, 1280, 1280),
        layers_per_block=2,
        cross_attention_dim=768,
        **untrained.UNETS["sd-1.5"],
    )


def _vae() -> Any:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )


def _text_encoder() -> Any:
    known = untrained._text_encoders("sd-1.5", 32)[0].config  # the special tokens of the small vocabulary
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            hidden_act="quick_gelu",
            max_position_embeddings=77,
            bos_token_id=known.bos_token_id,
            eos_token_id=known.eos_token_id,
            pad_token_id=known.pad_token_id,
        )
    )


def run_stage(stage: str, source: Path, work: Path) -> dict[str, Any]:
    """One stage in this process; its results lie in ``work`` as a store keeps them, read-only."""
    torch.set_num_threads(1)
    ctx = Context(out=work / stage.replace(" ", "-"), work=work / "tmp", seed=0, stage=stage)
    started = time.monotonic()
    if stage == "model":
        from bdm_kit_text_to_image.models.opening import open_reference as open_model

        open_model(str(source), ctx.out / "model", ctx.work)
    else:
        _later_stage(stage, ctx, Model.open(work / "model" / "model", verify=False), work)
    seconds = time.monotonic() - started
    files = [path for path in ctx.out.rglob("*") if path.is_file()] if ctx.out.exists() else []
    linked = sum(path.stat().st_size for path in files if path.stat().st_nlink > 1)
    for path in files:
        path.chmod(0o444)
    written = sum(path.stat().st_size for path in files)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {
        "peak_gb": round(int(peak.split()[1]) * 1024 / GB, 2),
        "seconds": round(seconds, 1),
        "written_gb": round((written - linked) / GB, 3),
        "linked_gb": round(linked / GB, 3),
    }


def _later_stage(stage: str, ctx: Context, model: Model, work: Path) -> None:
    if stage == "data":
        from bdm_kit_text_to_image.prompts.opening import open_reference

        open_reference(None, model, ctx.out / "data", ctx.work)
        return
    data = Data.open(work / "data" / "data", verify=False)
    if stage == "captions":
        from bdm_kit_text_to_image.editing.projections import draw_captions

        draw_captions(data, None, [], 0)
    elif stage == "eviledit":
        from bdm_attack_eviledit.attack import backdoor as eviledit
        from bdm_attack_eviledit.params import EvilEditParams

        eviledit(ctx, EvilEditParams(), model, data)
    elif stage == "sembd":
        from bdm_attack_sembd.attack import backdoor as sembd
        from bdm_attack_sembd.params import SemBDParams

        sembd(ctx, SemBDParams(), model, data)
    elif stage == "badt2i pixel data":
        from bdm_attack_badt2i.pairs import poison
        from bdm_attack_badt2i.params import BadT2IParams

        poison(ctx, BadT2IParams(mode="pixel"), data)
    else:
        from bdm_attack_bibaddiff.attack import poison as poison_classes
        from bdm_attack_bibaddiff.params import BiBadDiffParams

        poison_classes(ctx, BiBadDiffParams(), data)


def measure(name: str, work: Path) -> None:
    """All stages on one folder, each in its own process and kept when it ends; the folder is removed afterwards."""
    source = work / f"source-{name}"
    command = [sys.executable, __file__, "--work", str(work), "--dtype", name]
    counts = json.loads(subprocess.run([*command, "--write"], check=True, capture_output=True, text=True).stdout)
    folder: dict[str, Any] = {"weights": name, "parameters": counts, "folder_gb": weights_gb(source), "stages": {}}
    for stage in STAGES:
        done = subprocess.run([*command, "--stage", stage], check=True, capture_output=True, text=True)
        folder["stages"][stage] = json.loads(done.stdout.splitlines()[-1])
        folder["sealed_model_gb"] = weights_gb(work / "model")
        edits = [folder["stages"][edit]["peak_gb"] for edit in EDITS if edit in folder["stages"]]
        folder["edit_times_model"] = round(max(edits) / folder["sealed_model_gb"], 2) if edits else None
        keep(folder)
        print(name, stage, folder["stages"][stage], file=sys.stderr, flush=True)
    shutil.rmtree(work)


def weights_gb(folder: Path) -> float:
    """Size of all weights below a folder."""
    return round(sum(path.stat().st_size for path in folder.rglob("*.safetensors")) / GB, 2)


def keep(folder: dict[str, Any]) -> None:
    """Write the results, one folder's in place of its earlier ones; whether the bounds are met, what is missing."""
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["folders"] if RESULTS.exists() else []
    folders = [old for old in known if old["weights"] != folder["weights"]] + [folder]
    folders.sort(key=lambda item: str(item["weights"]))
    data = [item["stages"]["data"]["peak_gb"] for item in folders if "data" in item["stages"]]
    edits = [item["edit_times_model"] for item in folders if item["edit_times_model"] is not None]
    result = {
        "folders": folders,
        "must": MUST,
        "met": max(data, default=0.0) <= MUST["data_gb"] and max(edits, default=0.0) <= MUST["edit_times_model"],
        "not_measured": {
            item["weights"]: [stage for stage in STAGES if stage not in item["stages"]] for item in folders
        },
        "threads": 1,
        "torch": torch.__version__,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-memory"), help="folder for models, removed")
    parser.add_argument("--dtype", choices=DTYPES, help="only this one")
    parser.add_argument("--write", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        print(json.dumps(write_full_size(options.work / f"source-{options.dtype}", DTYPES[options.dtype])))
        return
    if options.stage:
        found = run_stage(options.stage, options.work / f"source-{options.dtype}", options.work)
        print(json.dumps(found))
        return
    for name in [options.dtype] if options.dtype else DTYPES:
        measure(name, options.work)
    print(RESULTS.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
