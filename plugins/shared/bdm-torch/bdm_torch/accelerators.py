"""Accelerate's object for a training: one for each device and precision, and left aside where it does nothing."""

from __future__ import annotations

import os

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, DynamoBackend

from bdm_core.run.ranks import require_all_ranks


def accelerator_for(device: str, mixed_precision: str) -> Accelerator:
    """An Accelerator for this device; trainings of one process may differ in device and precision.

    Raises:
        PluginError: other processes of the launch do not train, because the plugin does not say ``distributed``.
    """
    require_all_ranks()
    distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
    AcceleratorState._reset_state(reset_partial_state=not distributed)
    variable = "ACCELERATE_TORCH_DEVICE"
    before = os.environ.get(variable)
    if not distributed:
        os.environ[variable] = device
    try:
        return Accelerator(mixed_precision=mixed_precision, cpu=device == "cpu")
    finally:
        if before is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = before


def needs_no_wrapper(accelerator: Accelerator) -> bool:
    """Whether Accelerate would leave the model as it is, which it finds out with parts of PyTorch that load slowly."""
    compiles = accelerator.state.dynamo_plugin.backend != DynamoBackend.NO
    return accelerator.distributed_type == DistributedType.NO and accelerator.mixed_precision == "no" and not compiles
