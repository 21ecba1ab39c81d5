"""Classifiers of pictures of the library timm, in folders as timm writes them: ``config.json`` and safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from bdm_core.errors import ArtifactError, UserError
from bdm_kit_classification.models.folders import CONFIG, STEM, TIMM
from bdm_kit_classification.models.foreign_classifier import ForeignClassifier
from bdm_kit_classification.models.timm_folder import TimmConfig
from bdm_torch.draws import built_with_seed
from bdm_torch.foreign_models import load_weights, require_room
from bdm_torch.tensors import write_tensors


class TimmClassifier(ForeignClassifier):
    """A network of timm with its normalisation.

    Args:
        config: its configuration.
        network: of timm.

    Raises:
        ArtifactError: the network does not end in a linear map.
    """

    def __init__(self, config: TimmConfig, network: Any) -> None:
        head = network.get_classifier()
        names = [name for name, module in network.named_modules() if module is head]
        if not isinstance(head, nn.Linear) or not names:
            raise ArtifactError(f"{TIMM}{config.architecture} does not end in one linear map: it cannot be used here")
        given = config.pretrained_cfg
        super().__init__(network, names[0], given.input_size, given.mean, given.std)
        self.config = config
        self.classes, self.trained_on = config.classes, config.trained_on

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K)."""
        return cast(Tensor, self.network(self.prepare(inputs)))

    def fresh(self, seed: int) -> TimmClassifier:
        """The same architecture with new weights."""
        return _built(self.config, seed)

    def write(self, folder: Path) -> None:
        """``config.json`` and ``model.safetensors``, as timm has them."""
        text = json.dumps(self.config.model_dump(mode="json"), indent=1, sort_keys=True)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
        write_tensors(folder / f"{STEM}.safetensors", self.network.state_dict())

    def facts(self) -> dict[str, object]:
        """Shape, classes, data."""
        return {"shape": list(self.shape), "classes": self.classes, "trained_on": self.trained_on}


def open_timm_classifier(folder: Path, config: TimmConfig) -> TimmClassifier:
    """The classifier of a folder.

    Raises:
        UserError: timm is not installed.
        ArtifactError: timm has no such architecture, or the weights do not fit it.
    """
    create = _creator(config)
    require_room(folder, STEM, create)
    network = create()
    load_weights(network, folder, STEM)
    return TimmClassifier(config, network.float()).eval()


def build_timm(
    name: str,
    shape: tuple[int, int, int],
    classes: Sequence[str],
    normal: tuple[Sequence[float], Sequence[float]],
    trained_on: str,
    seed: int,
) -> TimmClassifier:
    """A classifier with new weights, drawn from the seed; in evaluation mode.

    Args:
        name: of the architecture in timm, such as ``resnet18``.
        shape: (C, H, W) of the pictures.
        classes: their names.
        normal: mean and deviation of the pictures, a number a channel.
        trained_on: the data it is to be trained on.
        seed: draws the weights.

    Raises:
        UserError: timm is not installed.
        ArtifactError: timm has no such architecture, or it does not end in a linear map.
    """
    given = {"input_size": shape, "mean": list(normal[0]), "std": list(normal[1])}
    fields = {"architecture": name, "label_names": list(classes), "num_classes": len(classes), "pretrained_cfg": given}
    return _built(TimmConfig.model_validate({**fields, "trained_on": trained_on}), seed)


def _built(config: TimmConfig, seed: int) -> TimmClassifier:
    return TimmClassifier(config, built_with_seed(seed, _creator(config))).eval()


def _creator(config: TimmConfig) -> Any:
    """A function that makes the network; nothing is downloaded, no weights are read."""
    try:
        import timm  # type: ignore[import-not-found]
    except ImportError:
        raise UserError(f"{TIMM}{config.architecture} needs timm: pip install 'bdm-kit-classification[timm]'") from None
    if not timm.is_model(config.architecture):
        raise ArtifactError(f"timm {timm.__version__} has no architecture {config.architecture!r}")
    channels, options = config.pretrained_cfg.input_size[0], dict(config.model_args)

    def create() -> Any:
        try:
            return timm.create_model(
                config.architecture, pretrained=False, num_classes=len(config.classes), in_chans=channels, **options
            )
        except (TypeError, ValueError, RuntimeError, AssertionError) as error:
            raise ArtifactError(f"timm cannot make {config.architecture}: {' '.join(str(error).split())}") from None

    return create
