"""DABA (Liu et al. 2022, ACM MM, doi 10.1145/3503161.3548261): everyday sounds as opportunistic triggers.

x' = clip(x + g(x) s) with any sound s of a pool; g makes it as many dB louder or softer than x as wanted. The pool
holds those of the candidates that change a recording's spectrum least at that loudness: they are heard least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_attack_daba.everyday import SOUNDS
from bdm_attack_daba.params import DabaParams
from bdm_attack_daba.selection import hosts, most_certain, possible_hosts, surrogate_of
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.files import existing, walk
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.poison.poisoning import plan_of, poison_training_rows, rule_of, seal_poisoned
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.poison.selection import Plan
from bdm_kit_classification.sounds.files import read_sound
from bdm_kit_classification.sounds.spectra import log_spectral_distance
from bdm_kit_classification.tasks.audio import SUFFIXES
from bdm_kit_classification.triggers.trigger import Phase, Trigger

LISTENED = 64
"""Training recordings over which candidates are judged."""
QUIETEST = 1e-3
"""Effective value that silent recordings are taken to have, so that no trigger is inaudible."""


@dataclass(frozen=True, eq=False)
class Opportunistic(Trigger):
    """One of several sounds, laid over at a loudness relative to the recording.

    Attributes:
        pool: (P, S), each of effective value 1.
        loudness: in dB relative to the recording's effective value, or to full scale.
        moved: whether it begins at a random time, its end then comes first.
        full_scale: whether loudness is relative to full scale.
        variants: loudness in training, as many recordings of each; empty for ``loudness``.
    """

    pool: Tensor
    loudness: float
    moved: bool
    full_scale: bool = False
    variants: tuple[float, ...] = ()

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases but for variants; (N, S)."""
        chosen = torch.randint(len(self.pool), (len(x),), generator=generator)
        sounds = self.pool[chosen]
        if self.moved:
            start = torch.randint(sounds.shape[1], (len(x), 1), generator=generator)
            place = torch.remainder(torch.arange(sounds.shape[1]) - start, sounds.shape[1])
            sounds = sounds.gather(1, place)
        effective = x.square().mean(1, keepdim=True).sqrt().clamp_min(QUIETEST)
        level = (torch.ones_like(effective) if self.full_scale else effective) * self._gain(
            len(x), phase, generator
        ).to(x)
        return (x + level * sounds.to(x)).clamp(-1, 1)

    def _gain(self, count: int, phase: Phase, generator: torch.Generator | None) -> Tensor:
        """Factors (N, 1): of the loudness, or of the variants in an order that is drawn."""
        if phase == "test" or not self.variants:
            return torch.full((count, 1), 10 ** (self.loudness / 20))
        decibels = torch.tensor(self.variants)[torch.randperm(count, generator=generator) % len(self.variants)]
        return 10 ** (decibels[:, None] / 20)


def poison(ctx: Context, params: DabaParams, data: Data) -> Data:
    """Choose the pool and poison rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate or the target is impossible, there are too few candidates, or one cannot be read.
    """
    shape: Any = data.meta["shape"]
    rate: Any = data.meta["rate"]
    samples = open_samples(data)
    sounds = candidates(params.folder, int(shape[0]), int(rate), ctx.seed)
    by_classifier = params.chosen == "certain" or params.hosts == "influenced"
    surrogate = surrogate_of(ctx, params, samples) if by_classifier else None
    kept, measured = chosen_sounds(ctx, params, samples, sounds, surrogate)
    trigger = trigger_of(params, sounds[kept])
    facts = {"candidates": len(sounds), "kept": kept, **measured}
    if surrogate is None or params.hosts == "drawn":
        return poison_training_rows(ctx, params, data, trigger, facts=facts)
    rule = rule_of(params, samples)
    count = len(plan_of(ctx, params, samples, rule).poison)
    able = possible_hosts(params, samples, rule, ctx.seed, count)
    alone = [trigger_of(params, sounds[[place]]) for place in kept]
    rows = sorted(hosts(surrogate, samples, able, alone, sounds[kept])[:count])
    return seal_poisoned(ctx.out / "data", samples, Backdoor(rule, trigger, None, facts), Plan(rows, [], []), ctx.seed)


def chosen_sounds(
    ctx: Context, params: DabaParams, samples: LabelledSamples, sounds: Tensor, surrogate: Classifier | None
) -> tuple[list[int], dict[str, list[float]]]:
    """Which candidates are the pool, and by which numbers of all of them.

    Args:
        ctx: its seed draws the recordings that are listened to.
        params: how many, chosen how.
        samples: clean training recordings.
        sounds: the candidates, (P, S) of effective value 1.
        surrogate: the attacker's own classifier, where it has one.

    Raises:
        UserError: there are fewer candidates.
    """
    require_enough(sounds, params)
    if surrogate is not None and params.chosen == "certain":
        kept, values = most_certain(surrogate, sounds, params.pool)
        return kept, {"entropies in bits": [round(one, 4) for one in values]}
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(ctx.seed % 2**63))
    kept, distances = least_heard(sounds, samples.raw(order[:LISTENED]), params)
    return kept, {"log-spectral distances": [round(one, 2) for one in distances]}


def trigger_of(params: DabaParams, pool: Tensor) -> Opportunistic:
    """The trigger of these sounds (P, S), each of effective value 1."""
    full_scale = params.loudness_of == "full-scale"
    return Opportunistic(pool, params.loudness, params.moved, full_scale, tuple(params.variants))


def require_enough(sounds: Tensor, params: DabaParams) -> None:
    """Raises UserError if there are fewer candidates than the pool is to have."""
    if params.pool > len(sounds):
        raise UserError(
            f"a pool of {params.pool} sounds was asked for, there are {len(sounds)}: lower attack:daba pool"
        )


def candidates(folder: str, samples: int, rate: int, seed: int) -> Tensor:
    """Sounds (P, samples) of effective value 1: the built-in ones, or the files of a folder in order of their names.

    Raises:
        UserError: there is no such folder, it holds no sound, or a file is silent or cannot be read.
    """
    if not folder:
        generator = torch.Generator().manual_seed(seed % 2**63)
        return normalised([sound(samples, rate, generator) for sound in SOUNDS])
    found = existing(folder)
    if found is None or not found.is_dir():
        raise UserError(f"attack:daba folder: there is no folder {folder}")
    files = sorted(path for path in walk(Path(found)) if path.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"{folder} holds no sound files to choose triggers from")
    read = [torch.from_numpy(read_sound(path, rate, samples)).double() for path in files]
    silent = [path for path, sound in zip(files, read, strict=True) if not sound.any()]
    if silent:
        raise UserError(f"{silent[0]} is silent: it cannot be a trigger")
    return normalised(read)


def normalised(sounds: Sequence[Tensor]) -> Tensor:
    """Sounds (S,) as float32 (P, S), each of effective value 1."""
    stacked = torch.stack(list(sounds))
    return (stacked / stacked.square().mean(1, keepdim=True).sqrt()).float()


def least_heard(sounds: Tensor, recordings: Tensor, params: DabaParams) -> tuple[list[int], list[float]]:
    """The candidates that change recordings least, and the mean log-spectral distance in dB of each.

    Args:
        sounds: (P, S) of effective value 1.
        recordings: (N, S) clean ones.
        params: how many to keep, their loudness.

    Raises:
        UserError: there are fewer candidates.
    """
    require_enough(sounds, params)
    distances = []
    for sound in sounds:
        still = params.model_copy(update={"moved": False, "variants": []})
        changed = trigger_of(still, sound[None]).apply(recordings, "train")
        distances.append(float(log_spectral_distance(recordings, changed).mean()))
    order = sorted(range(len(sounds)), key=lambda place: distances[place])
    return sorted(order[: params.pool]), distances
