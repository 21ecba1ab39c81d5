"""A model and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass

from bdm_kit_diffusion.models.diffusion_model import DiffusionModel


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models to compare.

    Attributes:
        suspect: the model to judge; its network is on ``device``.
        reference: what it was made from; likewise.
        seed: of all noise, which both models share.
        device: of both networks.
    """

    suspect: DiffusionModel
    reference: DiffusionModel
    seed: int
    device: str = "cpu"
