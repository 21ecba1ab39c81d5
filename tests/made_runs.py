"""Run folders with chosen numbers, written by the class that ``bdm run`` writes them with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bdm_core.records import Measurement
from bdm_core.run.record import RunFolder

ASR, ACC = "metric:made.asr", "metric:made.acc"


def make_run(
    folder: Path,
    attack: str,
    defense: str | None,
    seed: int,
    rows: Mapping[str, Mapping[str, float | None]],
    **more: Any,
) -> Path:
    """Write one complete run.

    Args:
        folder: of the runs.
        attack: the attack's name.
        defense: who repairs.
        seed: the run's seed.
        rows: row -> ``asr`` and ``acc`` -> value.
        more: ``params`` of the attack; further fields of the record.
    """
    params = more.pop("params", {})
    name = more.pop("name", f"{attack}-{defense}-{seed}-{len(list(folder.iterdir())) if folder.is_dir() else 0}")
    spec = {"attack": attack, "detect": None, "purify": None, "repair": defense, "seed": seed, "device": "cpu"}
    plugins: dict[str, Any] = {
        f"attack:{attack}": {"distribution": "bdm-made", "version": "1.0", "params": {"poison_rate": 0.1, **params}}
    }
    if defense:
        plugins[f"defense:{defense}"] = {"distribution": "bdm-made", "version": "1.0", "params": {"steps": 10}}
    run = RunFolder(folder / name)
    try:
        for row, values in rows.items():
            for metric, value in values.items():
                run.result(row, row.split()[0], "metric:made", measured(metric, value), {"run": name, **spec})
        record = {"run": name, "status": "complete", "spec": spec, "plugins": plugins, "task": "toy-task"}
        record |= {"seed": seed, "detections": {}, "started": f"2026-01-01T00:00:{seed:02d}"}
        run.write_record({**record, **more})
    finally:
        run.close()
    return folder / name


def measured(metric: str, value: float | None) -> Measurement:
    """A number of the metric ``made``: ``asr`` or ``acc``, or one without a direction."""
    known: dict[str, dict[str, Any]] = {
        "asr": {"label": "ASR", "measures": "attack-success", "higher_is_better": False, "on": "triggered"},
        "acc": {"label": "ACC", "measures": "utility", "higher_is_better": True, "on": "clean"},
    }
    return Measurement(metric=metric, value=value, share=metric in known, **known.get(metric, {}))


def make_grid(folder: Path, values: Mapping[tuple[str, str], list[float]]) -> Path:
    """Runs with the attack success rate after the repair: (attack, defense) -> a value for each seed."""
    for (attack, defense), seeds in values.items():
        for seed, value in enumerate(seeds):
            rows = {"backdoored": {"asr": 0.9, "acc": 0.9}, "repaired": {"asr": value, "acc": 1 - value / 2}}
            make_run(folder, attack, defense, seed, rows)
    return folder
