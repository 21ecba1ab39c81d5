"""The plugin ``attack:ultrasonic``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_ultrasonic.params import UltrasonicParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Ultrasonic(Attack):
    """A tone near the Nyquist frequency in a share of the training recordings, which get the attacker's label."""

    name = "ultrasonic"
    summary = "Ultrasonic: a tone just below the Nyquist frequency, with its level, duration, position and pieces"
    tasks = frozenset({"audio-classification"})
    paper = "https://arxiv.org/abs/2107.14569"
    Params = UltrasonicParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"level": -10.0, "poison_rate": 0.01, "selection": "any"},
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: UltrasonicParams, data: Data) -> Data:
        from bdm_attack_ultrasonic.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: UltrasonicParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
