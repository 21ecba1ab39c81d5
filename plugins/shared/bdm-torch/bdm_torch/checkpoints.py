"""The checkpoint of a training: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from dataclasses import dataclass
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
    """

    model: nn.Module
    optimizer: AdamW
    average: list[Tensor]
    scaler: Any

    def tensors(self) -> dict[str, Tensor]:
        """All state that is a tensor, by name."""
        found = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        found |= {f"optimizer.{name}": value for name, value in self.optimizer.tensors().items()}
        return found | {f"average.{index}": value for index, value in enumerate(self.average)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put the state back, in place."""
        self.model.load_state_dict(_below(tensors, "model."))
        self.optimizer.restore(_below(tensors, "optimizer."))
        for index, value in enumerate(self.average):
            value.copy_(tensors[f"average.{index}"])


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
