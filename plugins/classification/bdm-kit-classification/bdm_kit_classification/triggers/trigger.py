"""A trigger: a frozen dataclass that changes raw samples and can be written to files.

Its fields are its whole state. Tensors, and dictionaries of tensors (a network's ``state_dict()``), go to a safetensors
file; everything else (numbers, texts, booleans, tuples of them) to JSON. An attack defines its own class in its package
and keeps nothing else: the kit finds the class again by the name that the secret holds, if the package is that of an
installed attack.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from bdm_core.artifacts import Artifact
from bdm_core.errors import ArtifactError
from bdm_torch.tensors import read_tensors, write_tensors

Phase = Literal["train", "test"]
"""When a trigger is applied: to training rows, or to inputs of the finished model. The two may differ."""
ATTACKS = "bdm.attacks"
OWN_PACKAGE = __name__.partition(".")[0]
Kind = TypeVar("Kind", bound="Trigger")


class Trigger(ABC):
    """Base of all triggers; subclasses are frozen dataclasses with ``eq=False``.

    >>> @dataclasses.dataclass(frozen=True, eq=False)
    ... class Brighter(Trigger):
    ...     by: float = 0.1
    ...     def apply(self, x, phase, generator=None):
    ...         return (x + self.by).clamp(0, 1)
    >>> Brighter(0.5).apply(torch.zeros(1, 1, 2, 2), "test").mean()
    tensor(0.5000)
    """

    @abstractmethod
    def apply(self, x: Any, phase: Phase, generator: torch.Generator | None = None) -> Any:
        """Raw samples with the trigger: as many, in the same order and of the same shape.

        Args:
            x: raw samples of the modality: pictures are float32 (N, C, H, W) in [0, 1], on any device. They are not
                changed in place.
            phase: whether the rows are trained on or given to the finished model.
            generator: for triggers that differ at random from sample to sample; on the CPU, seeded by the stage. The
                engine always gives one.

        Returns:
            Samples within the valid range. Where gradients can flow, they do.
        """


def apply_in_batches(trigger: Trigger, raw: Any, phase: Phase, seed: int, size: int = 256) -> Any:
    """``trigger.apply`` on many raw pictures (or other tensors), some at a time, without gradients.

    Args:
        trigger: differs perhaps from sample to sample.
        raw: float32 (N, C, H, W) in [0, 1] of pictures; raw samples that are no tensor are given to it at once.
        phase: see :data:`Phase`.
        seed: of the random numbers that the trigger gets.
        size: samples at a time.

    Returns:
        As many raw samples in the same order.

    >>> from bdm_kit_classification.triggers.blend import Blend
    >>> blend, pictures = Blend(torch.ones(1, 4, 4), 0.2, 0.3), torch.zeros(5, 1, 4, 4)
    >>> found = apply_in_batches(blend, pictures, "test", seed=0, size=2)
    >>> found.shape, bool(torch.equal(found, blend.apply(pictures, "test")))
    (torch.Size([5, 1, 4, 4]), True)
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    with torch.no_grad():
        if not isinstance(raw, Tensor):
            return trigger.apply(raw, phase, generator)
        parts = [trigger.apply(part, phase, generator) for part in raw.split(size)] if len(raw) else [raw]
    return torch.cat(parts)


def write_trigger(folder: Path, name: str, trigger: Trigger) -> dict[str, Any]:
    """Write the tensors of a trigger as ``NAME.safetensors`` (if it has any) and return the rest as JSON.

    >>> from bdm_kit_classification.triggers.blend import Blend
    >>> record = write_trigger(Path("."), "trigger", Blend(torch.ones(1, 4, 4), 0.2, 0.3))
    >>> record["class"], record["settings"]
    ('bdm_kit_classification.triggers.blend:Blend', {'test_opacity': 0.3, 'train_opacity': 0.2})
    """
    settings: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for field in dataclasses.fields(trigger):  # type: ignore[arg-type]
        value = getattr(trigger, field.name)
        if isinstance(value, Tensor):
            tensors[field.name] = value.detach().cpu()
        elif isinstance(value, Mapping) and value and all(isinstance(item, Tensor) for item in value.values()):
            tensors |= {f"{field.name}/{key}": item.detach().cpu() for key, item in value.items()}
        else:
            settings[field.name] = value
    if tensors:
        write_tensors(folder / f"{name}.safetensors", tensors)
    cls = type(trigger)
    source = Path(inspect.getfile(cls)).read_bytes()
    return {
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "code": hashlib.sha256(source).hexdigest(),
        "settings": json.loads(json.dumps(dict(sorted(settings.items())))),
    }


def read_trigger(artifact: Artifact, name: str, record: Mapping[str, Any]) -> Trigger:
    """The trigger that :func:`write_trigger` wrote.

    Args:
        artifact: where the tensors lie, a secret or poisoned data.
        name: under which it was written.
        record: what :func:`write_trigger` returned.

    Raises:
        ArtifactError: its class is of no installed attack, or what was written does not fit it.

    >>> from bdm_core.artifacts import Secret
    >>> from bdm_kit_classification.triggers.blend import Blend
    >>> Path("secret").mkdir()
    >>> record = write_trigger(Path("secret"), "trigger", Blend(torch.ones(1, 4, 4), 0.2, 0.3))
    >>> secret = Secret.seal(Path("secret"), format="classification-secret", task="image-classification")
    >>> trigger = read_trigger(secret, "trigger", record)
    >>> trigger.test_opacity, trigger.pattern.shape
    (0.3, torch.Size([1, 4, 4]))
    >>> read_trigger(secret, "trigger", {**record, "class": "os:system"})
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: the trigger is of the package os, which is no installed attack: install it
    """
    cls = _class_of(str(record["class"]))
    fields: dict[str, Any] = {}
    types = {field.name: str(field.type) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key, value in dict(record["settings"]).items():
        fields[key] = tuple(value) if isinstance(value, list) and types.get(key, "").startswith("tuple") else value
    if f"{name}.safetensors" in artifact.files:
        for key, tensor in read_tensors(artifact.file(f"{name}.safetensors")).items():
            first, _, rest = key.partition("/")
            if rest:
                fields.setdefault(first, {})[rest] = tensor
            else:
                fields[first] = tensor
    try:
        return cls(**fields)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{artifact.path}: the trigger does not fit its class {record['class']}: {error}") from None


def _class_of(name: str) -> type[Trigger]:
    """A class of this kit or of the package of an installed attack; nothing else is ever imported."""
    module, _, attribute = name.partition(":")
    package = module.partition(".")[0]
    allowed = {entry.value.partition(".")[0].partition(":")[0] for entry in entry_points(group=ATTACKS)}
    if package != OWN_PACKAGE and package not in allowed:
        raise ArtifactError(f"the trigger is of the package {package}, which is no installed attack: install it")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ArtifactError(f"the trigger's class {name} is not there: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Trigger)):
        raise ArtifactError(f"{name} is no trigger")
    return found
