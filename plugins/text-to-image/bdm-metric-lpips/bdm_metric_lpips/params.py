"""Parameters of ``metric:lpips``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class LpipsParams(Params):
    """Parameters of ``metric:lpips``."""

    network: str | None = Field(
        None,
        description="Folder of safetensors with the published weights of LPIPS: torchvision's features.* of AlexNet, "
        "VGG-16 or SqueezeNet 1.1 and LPIPS's lin*.model.1.weight; null: the built-in classifier of the small world "
        "with equal weights, for data of the small world.",
    )
    batch_size: int = Field(64, ge=1, description="Pairs of pictures that pass through the network at once.")
