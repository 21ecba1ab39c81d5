"""The plugin ``attack:perlin-noise``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_perlin_noise.params import PAPER, PerlinNoiseParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class PerlinNoise(Attack):
    """Perlin noise is added to a share of the training pictures, which get the attacker's label."""

    name = "perlin-noise"
    summary = "Perlin noise: smooth procedural noise of several octaves, added faintly over the whole picture"
    tasks = frozenset({"image-classification"})
    paper = "https://doi.org/10.1145/566654.566636"
    Params = PerlinNoiseParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: PerlinNoiseParams, data: Data) -> Data:
        from bdm_attack_perlin_noise.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: PerlinNoiseParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
