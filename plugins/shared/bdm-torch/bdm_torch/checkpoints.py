"""The checkpoint of a training: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bdm_core.errors import ArtifactError
from bdm_torch.optimizer import AdamW
from bdm_torch.tensors import read_note, read_tensors, write_tensors


@dataclass(frozen=True)
class Snapshot:
    """The objects of a running training.

    Attributes:
        model: not wrapped.
        optimizer: not wrapped.
        average: the moving average of the weights, or empty.
        scaler: the gradient scaler of fp16, else None.
        along: modules that are trained along, with their optimisers.
        state: further tensors that the training changes in place.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer | AdamW
    average: list[Tensor]
    scaler: Any
    along: Mapping[str, tuple[nn.Module, torch.optim.Optimizer | AdamW]] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All state that is a tensor, by name."""
        found = _state_of(self.model, self.optimizer)
        for name, (module, optimizer) in self.along.items():
            found |= {f"along.{name}.{key}": value for key, value in _state_of(module, optimizer).items()}
        found |= {f"state.{name}": value for name, value in self.state.items()}
        return found | {f"average.{index}": value for index, value in enumerate(self.average)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put the state back, in place."""
        _restore(self.model, self.optimizer, tensors)
        for name, (module, optimizer) in self.along.items():
            _restore(module, optimizer, _below(tensors, f"along.{name}."))
        for name, value in self.state.items():
            value.copy_(tensors[f"state.{name}"])
        for index, value in enumerate(self.average):
            value.copy_(tensors[f"average.{index}"])


def _state_of(module: nn.Module, optimizer: torch.optim.Optimizer | AdamW) -> dict[str, Tensor]:
    found = {f"model.{name}": value for name, value in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{index}.{name}": value for name, value in state.items() if isinstance(value, Tensor)}
    return found


def _restore(module: nn.Module, optimizer: torch.optim.Optimizer | AdamW, tensors: dict[str, Tensor]) -> None:
    module.load_state_dict(_below(tensors, "model."))
    state: dict[int, dict[str, Tensor]] = {}
    parameters = optimizer.param_groups[0]["params"]
    for name, value in _below(tensors, "optimizer.").items():
        number, _, key = name.partition(".")
        like = parameters[int(number)]
        if value.shape == like.shape:  # fused optimisers take both to lie in memory alike
            value = torch.empty_like(like, dtype=value.dtype, device=value.device).copy_(value)
        state.setdefault(int(number), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def write_checkpoint(path: Path, snapshot: Snapshot, losses: list[float], identity: dict[str, Any]) -> None:
    """Replace the checkpoint. ``identity`` says which training it belongs to; the losses count its steps."""
    scaler = snapshot.scaler.state_dict() if snapshot.scaler is not None else None
    tensors = snapshot.tensors() | {"losses": torch.tensor(losses, dtype=torch.float64)}
    write_tensors(path, tensors, json.dumps({"identity": identity, "scaler": scaler}))


def read_checkpoint(path: Path, snapshot: Snapshot, identity: dict[str, Any]) -> list[float]:
    """Restore the snapshot and return the losses so far; [] if there is no checkpoint of this very training."""
    if not path.is_file():
        return []
    try:
        record = json.loads(read_note(path))
        if record["identity"] != json.loads(json.dumps(identity)):
            return []
        tensors = read_tensors(path)
        losses: list[float] = tensors.pop("losses").tolist()
        snapshot.restore(tensors)
        if snapshot.scaler is not None:
            snapshot.scaler.load_state_dict(record["scaler"])
    except (ArtifactError, KeyError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path} is damaged; delete it to train from the start ({error})") from None
    return losses
