"""Lines of the benchmark of attacks on image classifiers against defenses, made up."""

from __future__ import annotations

from typing import Any


def line(name: str, seed: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "part": "classifier-pairs",
        "run": f"{more.get('attack', 'badnets')} {name} {seed} {more.get('params')}",
        "attack": "badnets",
        "params": {},
        "model": "mnist-cnn",
        "defense": name,
        "seed": seed,
        "status": "complete",
        "access": ["weights"],
        "backdoored": {"accuracy": 0.98, "asr": 1.0},
        "cost": {"seconds": 1.0},
        **more,
    }


def repaired(asr: float, accuracy: float) -> dict[str, float]:
    return {"asr": asr, "accuracy": accuracy, "recovered_accuracy": 0.9}
