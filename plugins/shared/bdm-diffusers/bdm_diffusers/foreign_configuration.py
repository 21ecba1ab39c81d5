"""What a stranger's UNet and noise schedule must be for bdm, read from their JSON alone. Light: no torch, no diffusers.

Every complaint is one line that names the file and its entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bdm_core.errors import ArtifactError

PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What a network may predict; everything but epsilon is converted where it is opened."""
LONGEST_SCHEDULE = 100_000
LARGEST_SIDE = 4096
LARGEST_SCALE = 1e4
MOST_BLOCKS = 16
CONDITIONS = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "time_cond_proj_dim")
"""Entries of networks that want a further input; they must be absent or null."""


class UNetKind(NamedTuple):
    """What a kit takes.

    Attributes:
        channels: of what the network works on, None for any number.
        halves: whether every block but the last must halve the size exactly.
        addition: the only ``addition_embed_type``, e.g. ``text_time``; None for none.
        default: channels of a configuration that states none.
    """

    channels: int | None = None
    halves: bool = True
    addition: str | None = None
    default: int = 3


def check_unet(file: Path, config: Mapping[str, Any], kind: UNetKind, tensors: int) -> None:
    """Refuse the configuration of a UNet that cannot be used.

    Args:
        file: of the configuration, for the message.
        config: its content.
        kind: what the kit takes.
        tensors: how many its weights hold.

    Raises:
        ArtifactError: a learned variance, a class condition or another further input, inpainting's channels, a size
            that the blocks cannot halve, or an entry that is no such number or list.
    """
    height, width = sample_size(file, config)
    inside, outside = (
        whole_number(file, key, config.get(key, kind.default)) for key in ("in_channels", "out_channels")
    )
    if outside == 2 * inside:
        _refuse(file, f"out_channels {outside} for in_channels {inside}: a learned variance is not supported")
    if kind.channels not in (None, inside):
        hint = "inpainting and the like are" if inside > (kind.channels or 0) else "that is"
        _refuse(file, f"in_channels {inside} for latents of {kind.channels} channels: {hint} not supported")
    if outside != inside:
        _refuse(file, f"out_channels {outside} for in_channels {inside}: they must be equal")
    for key in CONDITIONS:
        if config.get(key) is not None:
            _refuse(file, f"{key} {config[key]!r}: networks with such a condition are not supported")
    if config.get("addition_embed_type") != kind.addition:
        _refuse(file, f"addition_embed_type {config.get('addition_embed_type')!r}: expected {kind.addition!r}")
    blocks = _check_blocks(file, config, tensors)
    if kind.halves:
        for side in (height, width):
            if side % 2 ** (blocks - 1):
                _refuse(file, f"sample_size {side} cannot be halved {blocks - 1} times, as its {blocks} blocks need")


def sample_size(file: Path, config: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width that a configuration states. Raises ArtifactError if it does not."""
    value = config.get("sample_size")
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(_is_whole(side) and side <= LARGEST_SIDE for side in sides):
        _refuse(file, f"sample_size is {value!r}: expected one or two whole numbers from 1 to {LARGEST_SIDE}")
    return sides[0], sides[1]


def check_scheduler(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse a noise schedule that cannot be used, as far as its configuration says so.

    Raises:
        ArtifactError: an unknown ``prediction_type``, a learned variance, no or too many timesteps, or a last step
            without any image in it for a network that predicts the noise.
    """
    steps = config.get("num_train_timesteps", 1000)
    if not _is_whole(steps) or not 2 <= steps <= LONGEST_SCHEDULE:
        _refuse(file, f"num_train_timesteps is {steps!r}: expected a whole number from 2 to {LONGEST_SCHEDULE}")
    prediction = config.get("prediction_type", "epsilon")
    if config.get("_class_name") == "ScoreSdeVeScheduler" and prediction != "epsilon":
        _refuse(file, f"prediction_type {prediction!r:.40}: a variance-exploding network has none")
    if prediction not in PREDICTIONS:
        _refuse(file, f"prediction_type {prediction!r} is not supported: only {', '.join(PREDICTIONS)}")
    if config.get("variance_type") in ("learned", "learned_range"):
        _refuse(file, f"variance_type {config['variance_type']!r}: a learned variance is not supported")
    limit = config.get("clip_states")
    if limit is not None and not (isinstance(limit, int | float) and limit > 0):
        _refuse(file, f"clip_states is {limit!r}: expected a number above 0, or none")
    if config.get("rescale_betas_zero_snr") and prediction == "epsilon":
        _refuse(file, "rescale_betas_zero_snr needs the prediction_type v_prediction: the last step holds no image")


def check_first_stage(file: Path, config: Mapping[str, Any]) -> None:
    """Refuse an autoencoder whose latents are scaled or shifted by no number, or by one that turns them round.

    Raises:
        ArtifactError: so it is.
    """
    scale, shift = config.get("scaling_factor", 1), config.get("shift_factor")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= LARGEST_SCALE:
        _refuse(file, f"scaling_factor is {scale!r:.40}: expected a number above 0, up to {LARGEST_SCALE:g}")
    if shift is not None and (isinstance(shift, bool) or not isinstance(shift, int | float)):
        _refuse(file, f"shift_factor is {shift!r:.40}: expected a number, or none")


def _check_blocks(file: Path, config: Mapping[str, Any], tensors: int) -> int:
    lists = {key: config.get(key) for key in ("block_out_channels", "down_block_types", "up_block_types")}
    for key, value in lists.items():
        if value is not None and not (isinstance(value, list) and 1 <= len(value) <= MOST_BLOCKS):
            _refuse(file, f"{key} is {value!r:.80}: expected a list of 1 to {MOST_BLOCKS} entries")
    given = {key: len(value) for key, value in lists.items() if value is not None}
    if len(set(given.values())) > 1:
        _refuse(file, f"{' and '.join(given)} are of different lengths: {', '.join(map(str, given.values()))}")
    if not all(map(_is_whole, lists["block_out_channels"] or [])):
        _refuse(file, f"block_out_channels is {lists['block_out_channels']!r}: expected whole numbers from 1")
    groups = config.get("norm_num_groups", 32)
    if groups is not None and not _is_whole(groups):
        _refuse(file, f"norm_num_groups is {groups!r}: expected a whole number from 1")
    layers = config.get("layers_per_block", 2)
    for count in layers if isinstance(layers, list) else [layers]:
        if not _is_whole(count) or count > tensors:
            _refuse(file, f"layers_per_block is {count!r}, for weights of {tensors} tensors: they do not fit")
    return next(iter(given.values()), 4)


def whole_number(file: Path, key: str, value: Any) -> int:
    """An entry's value. Raises ArtifactError if it is no whole number from 1."""
    if not _is_whole(value):
        _refuse(file, f"{key} is {value!r}: expected a whole number from 1")
    return int(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _refuse(file: Path, complaint: str) -> NoReturn:
    raise ArtifactError(f"{file}: {complaint}")
