"""The kit's trainer and sampler against the plain alternatives, in one process: `python benchmarks/throughput.py`.

Training: steps of :func:`bdm_torch.training.train` against a loop in bare PyTorch that does the same sums
(noise, one forward and one backward pass, gradient clipping, AdamW). Sampling:
:func:`bdm_diffusers.sampling.sample` against diffusers' own DDPMPipeline and DDIMPipeline. Both sides take turns,
and the fastest round of each counts, so that other load on the machine changes both alike. On a GPU:

    python benchmarks/throughput.py --device cuda --config cifar10 celebahq --precision no bf16 --compile

Configurations ``mnist-cnn`` and ``colour-digits-cnn``: the training of classifiers, as a stage does it, against a bare
loop on the same network.

The result goes to ``benchmarks/results/throughput-DEVICE.json``, in the place of lines of the same configuration; it
must say at most 1.05 everywhere. On CPUs seconds are those of the processor.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from torch.nn import functional

from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import SamplingOptions, draw_noise, sample
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.training import TrainingOptions, train

RESULTS = Path(__file__).parent / "results"
CLASSIFIERS = ("mnist-cnn", "colour-digits-cnn")
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "cifar10": {
        "sample_size": 32,
        "in_channels": 3,
        "out_channels": 3,
        "layers_per_block": 2,
        "block_out_channels": (128, 256, 256, 256),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
    },
    "celebahq": {
        "sample_size": 256,
        "in_channels": 3,
        "out_channels": 3,
        "layers_per_block": 2,
        "block_out_channels": (128, 128, 256, 256, 512, 512),
        "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
    },
}
"""Those of google/ddpm-cifar10-32 and google/ddpm-ema-celebahq-256; the weights are random, which takes as long."""


def network(name: str) -> tuple[UNet2DModel, DDPMScheduler]:
    """The built-in digits model, or one of CONFIGURATIONS."""
    if name == "digits":
        model = load_model(BUILTIN / "digits-ddpm")
        assert isinstance(model.unet, UNet2DModel)
        return model.unet, DDPMScheduler(num_train_timesteps=model.timesteps)
    torch.manual_seed(0)
    return UNet2DModel(**CONFIGURATIONS[name]), DDPMScheduler(num_train_timesteps=1000)


def bare_training(
    unet: Any, scheduler: DDPMScheduler, images: torch.Tensor, options: TrainingOptions, device: str
) -> None:
    """The same training without the kit: nothing but PyTorch."""
    kind = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}[options.mixed_precision]
    optimizer = torch.optim.AdamW(unet.parameters(), lr=options.learning_rate, weight_decay=0.0, fused=True)
    abar = scheduler.alphas_cumprod.to(device)
    unet.train()
    for step in range(options.steps):
        optimizer.param_groups[0]["lr"] = options.rate(step)
        clean = images[torch.randint(len(images), (options.batch_size,), device=images.device)].to(device)
        t, noise = torch.randint(len(abar), (len(clean),), device=device), torch.randn_like(clean)
        level = abar[t].view(-1, 1, 1, 1)
        with torch.autocast(device.split(":")[0], dtype=kind, enabled=kind is not None):
            found = unet(level.sqrt() * clean + (1 - level).sqrt() * noise, t).sample
        functional.mse_loss(found.float(), noise).backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def seconds(work: Callable[[], object], device: str) -> float:
    """Time of a call: of the processor, or on a GPU until that is done."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    start = clock()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - start


def compare(
    ours: Callable[[], object], plain: Callable[[], object], images: int, rounds: int, device: str
) -> dict[str, Any]:
    """Both in turns, once unmeasured: images per second of the fastest round, and our time over the other's."""
    ours(), plain()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    times = [(seconds(ours, device), seconds(plain, device)) for _ in range(rounds)]
    mine, theirs = (min(column) for column in zip(*times, strict=True))
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.startswith("cuda") else None
    return {
        "images_per_second": round(images / mine, 2),
        "images_per_second_plain": round(images / theirs, 2),
        "ratio": round(mine / theirs, 3),
        "rounds": rounds,
        "peak_gpu_gib": memory and round(memory, 2),
    }


def measure(
    name: str, batch: int, precision: str, compiled: bool, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """One configuration: training, and sampling by DDPM and DDIM, at one batch size."""
    device, steps = arguments.device, arguments.steps
    unet, scheduler = network(name)
    unet.to(device)
    shape = (unet.config["in_channels"], unet.config["sample_size"], unet.config["sample_size"])
    images = torch.randn(max(2 * batch, 64), *shape)
    options = TrainingOptions(steps=steps, batch_size=batch, learning_rate=1e-6, mixed_precision=precision)  # type: ignore[arg-type]
    one, other = unet, copy.deepcopy(unet)
    if compiled:
        one, other = torch.compile(one), torch.compile(other)  # type: ignore[assignment]
    loss = denoising_loss(images, scheduler)
    common = {"config": name, "device": device, "batch_size": batch, "precision": precision, "compiled": compiled}
    lines = [
        {
            **common,
            "what": "training",
            **compare(
                lambda: train(one, loss, options, seed=0, device=device),
                lambda: bare_training(other, scheduler, images.to(device), options, device),
                steps * batch,
                arguments.rounds,
                device,
            ),
        }
    ]
    if precision != "no" or compiled:
        return lines
    noise = draw_noise(batch, shape, 0).to(device)
    pipes = {
        "ddpm": DDPMPipeline(other, scheduler),
        "ddim": DDIMPipeline(other, DDIMScheduler.from_config(scheduler.config)),
    }
    for sampler, pipe in pipes.items():
        pipe.set_progress_bar_config(disable=True)
        own = build_scheduler(sampler, scheduler)

        def ours(own: Any = own) -> object:
            return sample(one, own, noise, steps=arguments.sampling_steps, options=SamplingOptions(batch))

        def plain(pipe: Any = pipe) -> object:
            return pipe(batch_size=batch, num_inference_steps=arguments.sampling_steps, output_type="np")

        lines.append(
            {**common, "what": f"sampling, {sampler}", **compare(ours, plain, batch, arguments.rounds, device)}
        )
    return lines


def measure_classifier(name: str, batch: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The training of a built-in classifier."""
    from throughput_classifiers import bare, ours, pair, prepared

    classifier, samples, params = prepared(name, arguments.steps, batch)
    one, other = pair(classifier)
    device = arguments.device
    found = compare(
        lambda: ours(one, samples, params, device),
        lambda: bare(other, samples, params, device),
        len(samples),
        arguments.rounds,
        device,
    )
    common = {"config": name, "device": device, "batch_size": batch, "precision": "no", "compiled": False}
    return {**common, "what": "training", "steps": arguments.steps, **found}


def case_of(line: dict[str, Any]) -> tuple[Any, ...]:
    """What a line measures."""
    return tuple(line[key] for key in ("config", "batch_size", "precision", "compiled", "what"))


def main() -> None:
    """Measure every configuration, batch size and precision, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--config", nargs="+", default=["digits"], choices=["digits", *CLASSIFIERS, *CONFIGURATIONS])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--precision", nargs="+", default=["no"], choices=["no", "bf16", "fp16"])
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--steps", type=int, default=25, help="training steps of a round")
    parser.add_argument("--sampling-steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    lines = []
    for name in arguments.config:
        for batch in arguments.batch_sizes:
            if name in CLASSIFIERS:
                lines.append(measure_classifier(name, batch, arguments))
                print(json.dumps(lines[-1]), flush=True)
                continue
            for precision in arguments.precision:
                for compiled in [False, True] if arguments.compile else [False]:
                    for line in measure(name, batch, precision, compiled, arguments):
                        print(json.dumps(line), flush=True)
                        lines.append(line)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if arguments.device.startswith("cuda") else None,
        "torch": torch.__version__,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"throughput-{arguments.device.split(':')[0]}.json"
    measured = {case_of(line) for line in lines}
    before = json.loads(path.read_text())["lines"] if path.exists() else []
    kept = [line for line in before if case_of(line) not in measured]
    path.write_text(json.dumps({"machine": machine, "lines": kept + lines}, indent=1) + "\n")
    print(f"largest ratio {max(line['ratio'] for line in lines):.3f} (must: at most 1.05); written to {path}")


if __name__ == "__main__":
    main()
