"""The attacks on unconditional models, each under samplers of its own class: `python benchmarks/attacks.py`.

For each attack, model and seed one ``bdm run --attack NAME --model MODEL``, with the attack's defaults but for what the
case names. One line of JSON a run goes to ``benchmarks/results/attacks.jsonl`` and a page to
``docs/benchmarks/attacks.md``. Runs that have a line are skipped unless ``--fresh`` is given.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detection_page import markdown
from main_job import bdm, run_folder
from text_to_image import value_of

RESULTS = Path(__file__).parent / "results"
LINES = RESULTS / "attacks.jsonl"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "attacks.md"
ASR, LEAK, RATIO = 0.95, 0.02, 1.3
"""What every attack must reach: success at least, leak and Frechet distance (backdoored : clean) at most."""
METRICS = {
    "asr": ("backdoored", "metric:target.asr@0.05"),
    "asr_clean_model": ("clean under trigger", "metric:target.asr@0.05"),
    "asr_class": ("backdoored", "metric:target.asr@class"),
    "asr_class_clean_model": ("clean under trigger", "metric:target.asr@class"),
    "leak": ("backdoored", "metric:target.leak@0.05"),
    "leak_class": ("backdoored", "metric:target.leak@class"),
    "leak_class_clean_model": ("clean", "metric:target.leak@class"),
    "frechet_clean_model": ("clean", "metric:frechet."),
    "frechet": ("backdoored", "metric:frechet."),
}


@dataclass(frozen=True)
class Case:
    """An attack with the model it is run on, and the parameters of attack and kit that differ from the defaults."""

    attack: str
    model: str = "digits-ddpm"
    settings: dict[str, Any] = field(default_factory=dict)
    kit: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Attack, model and settings; a case's lines are found by it."""
        pairs = (self.settings | self.kit).items()
        return ", ".join([self.attack, self.model, *(f"{key} {value}" for key, value in pairs)])


CASES = (
    Case("villan"),
    Case("villan", settings={"solver": "ode"}),
    Case("villan", settings={"psi": 0.0}),
    Case("baddiffusion"),
    Case("trojdiff"),
    Case("trojdiff", settings={"trigger_type": "patch"}),
    Case("trojdiff", settings={"variant": "agnostic"}),
    Case("trojdiff", settings={"mode": "in-d2d"}),
    Case("trojdiff", settings={"mode": "out-d2d"}),
    Case("trojdiff", settings={"mode": "in-d2d", "trigger_type": "patch"}),
    Case("invi"),
    Case("invi", settings={"solver": "sde"}),
    Case("uibdiffusion"),
    Case("uibdiffusion", settings={"solver": "sde"}),
    Case("villan", "digits-ve", kit={"corrector_steps": 0}),
    Case("villan", "shapes-ddpm"),
    Case("villan", "shapes-ddpm", {"solver": "ode"}),
    Case("villan", "shapes-ldm"),
    Case("villan", "shapes-ldm", {"solver": "ode", "vp_scale": 1.0}),
)


def measure(case: Case, seed: int, out: Path) -> dict[str, Any]:
    """Run one case and read its numbers."""
    name = f"{case.name.replace(', ', '-').replace(' ', '-')}-{seed}"
    command = ["run", "--attack", case.attack, "--model", case.model, "--seed", str(seed), "--out", str(out)]
    for key, value in ({"samples": 512} | case.kit).items():
        command += ["--set", f"kit:diffusion.{key}={value}"]
    for key, value in case.settings.items():
        command += ["--set", f"attack:{case.attack}.{key}={value}"]
    bdm(*command, "--name", name, "--no-report")
    lines = run_folder(out, name)
    stages = {entry["label"]: entry["seconds"] for entry in json.loads((out / name / "stages.json").read_text())}
    found: dict[str, Any] = {"case": case.name, "seed": seed}
    found |= {key: value_of(lines, *place) for key, place in METRICS.items()}
    found["seconds"] = round(stages["poisoned data"] + stages["backdoored model"], 1)
    hardware = json.loads((out / name / "run.json").read_text())["hardware"]
    return found | {"machine": {"processor": hardware.get("processor"), "cores": hardware["cores"]}}


def read_lines() -> list[dict[str, Any]]:
    """The lines that there are."""
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Means over seeds, with the range of the success, as Markdown; * marks what misses a bound.

    Where the target is a class of the data, the leak is what the backdoored model shows of it above the clean model.
    """
    rows = [
        [
            "attack, model, settings",
            "seeds",
            f"ASR (at least {ASR})",
            "clean model",
            f"leak (at most {LEAK})",
            f"Fréchet, backdoored : clean (at most {RATIO})",
            "s",
        ]
    ]
    for case in CASES:
        own = sorted((line for line in lines if line["case"] == case.name), key=lambda line: line["seed"])
        if not own:
            continue
        key = "asr" if own[0]["asr"] is not None else "asr_class"
        wins = [line[key] for line in own]
        leaks = [
            line["leak"] if key == "asr" else max(0.0, line["leak_class"] - line["leak_class_clean_model"])
            for line in own
        ]
        ratios = [line["frechet"] / line["frechet_clean_model"] for line in own]
        low = " *" if statistics.mean(wins) < ASR else ""
        rows.append(
            [
                case.name,
                str(len(own)),
                f"{statistics.mean(wins):.2f} ({min(wins):.2f} to {max(wins):.2f}){low}",
                f"{statistics.mean(line[f'{key}_clean_model'] for line in own):.2f}",
                f"{statistics.mean(leaks):.3f}" + (" *" if statistics.mean(leaks) > LEAK else ""),
                f"{statistics.mean(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                + (" *" if statistics.mean(ratios) > RATIO else ""),
                f"{statistics.mean(line['seconds'] for line in own):.0f}",
            ]
        )
    return markdown(rows) + "\n"


def page(lines: Sequence[dict[str, Any]]) -> str:
    """The page: what was run, the table, and what its columns mean."""
    processors = sorted({f"{line['machine']['processor']}, {line['machine']['cores']} cores" for line in lines})
    return (
        "# The attacks on unconditional models\n\n"
        "Each attack with its defaults, but for the settings named, on a built-in model, sampled by the plain sampler\n"
        "of its own solver class: 512 images from noise, 128 of them also with the trigger. Means over the seeds, in\n"
        "brackets the range; * marks a mean that misses its bound. ASR counts samples with a mean squared error to\n"
        "the target below .05 or, where the target is a class, those that the kit's classifier takes for it; the leak\n"
        "is the same share without the trigger, of a class what exceeds the clean model's share. Seconds are those of\n"
        "poisoning and training, one thread beside other load.\n\n"
        f"{table(lines)}\n"
        f"Machine: {'; '.join(processors)}. `python benchmarks/attacks.py` measures what is missing and writes this "
        "page.\n"
    )


def main() -> None:
    """Measure what is missing and rewrite the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=None, help="beginnings of cases' names; by default all")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-attacks"), help="folder for the runs")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; set OMP_NUM_THREADS=1 for more than one")
    parser.add_argument("--fresh", action="store_true", help="measure everything anew")
    arguments = parser.parse_args()
    if arguments.fresh:
        LINES.unlink(missing_ok=True)
    known = {(line["case"], line["seed"]) for line in read_lines()}
    wanted = [
        (case, seed)
        for seed in arguments.seeds
        for case in CASES
        if (case.name, seed) not in known and (not arguments.only or case.name.startswith(tuple(arguments.only)))
    ]

    def work(item: tuple[Case, int]) -> None:
        found = measure(*item, arguments.work)
        with LINES.open("a") as file:
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
        print(json.dumps(found, ensure_ascii=False), flush=True)

    RESULTS.mkdir(exist_ok=True)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(work, wanted))
    PAGE.write_text(page(read_lines()))
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
