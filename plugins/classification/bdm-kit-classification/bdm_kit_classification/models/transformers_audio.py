"""Classifiers of sound of the library transformers: wav2vec 2.0, HuBERT, WavLM, ..., and AST, which sees spectra."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import read_json
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer
from bdm_kit_classification.models.foreign_classifier import layers_in_order
from bdm_kit_classification.models.transformers_classifier import PROCESSOR, head_of
from bdm_kit_classification.sounds.files import LEAST_RATE, MOST_RATE
from bdm_kit_classification.sounds.filterbank import filter_bank
from bdm_kit_classification.tasks.audio import AUDIO_TASK
from bdm_torch.configurations import check_numbers
from bdm_torch.draws import built_with_seed
from bdm_torch.foreign_models import only_errors, open_network

USUAL_RATE, LEAST_DEVIATION = 16_000, 1e-7
WAVEFORM = "input_values"
USUAL_SPECTRA = {"mean": -4.2677393, "std": 4.5689974}
"""What filter-bank features are normalised by if the extractor does not say: the values of AudioSet."""


class TransformersAudio(Classifier):
    """An ``AutoModelForAudioClassification`` over waveforms, with the rate and normalisation of its feature extractor.

    Args:
        network: of transformers.
        processor: what ``preprocessor_config.json`` says; written again as it was.
    """

    task = AUDIO_TASK
    suited = ("adamw", 0.001)

    def __init__(self, network: Any, processor: dict[str, Any]) -> None:
        super().__init__()
        self.network, self.processor = network, processor
        named = network.config.id2label
        self.classes = [str(named[index]) for index in sorted(named)]
        self.rate = int(processor.get("sampling_rate", USUAL_RATE))
        if not LEAST_RATE <= self.rate <= MOST_RATE:
            raise ValueError(f"a sampling_rate of {self.rate}")
        self._head_name = head_of(network)

    def prepare(self, waveforms: Tensor) -> Tensor:
        """Waveforms as the network takes them: of mean 0 and variance 1 each, if the extractor says so."""
        if not self.processor.get("do_normalize", True):
            return waveforms
        centred = waveforms - waveforms.mean(1, keepdim=True)
        return centred / (centred.square().mean(1, keepdim=True) + LEAST_DEVIATION).sqrt()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (N, K) of waveforms (N, S)."""
        return cast(Tensor, self.network(**{WAVEFORM: self.prepare(inputs)}).logits)

    def features(self, inputs: Tensor) -> Tensor:
        """What the head sees, (N, F)."""
        seen: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        try:
            self(inputs)
        finally:
            hook.remove()
        return seen[0].flatten(1)

    @property
    def head(self) -> nn.Linear:
        """The last linear map."""
        return cast(nn.Linear, self.network.get_submodule(self._head_name))

    def prunable_layers(self) -> list[PrunableLayer]:
        """Linear maps but for the head, in the order in which they run."""
        return layers_in_order(self, torch.zeros(1, self.rate, device=self.device))

    def fresh(self, seed: int) -> TransformersAudio:
        """The same architecture with new weights."""
        network = built_with_seed(seed, lambda: type(self.network)(self.network.config))
        return TransformersAudio(network, self.processor).eval()

    def write(self, folder: Path) -> None:
        """As ``save_pretrained`` does."""
        with only_errors("transformers"):
            self.network.save_pretrained(folder)
        (folder / PROCESSOR).write_text(json.dumps(self.processor, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def facts(self) -> dict[str, object]:
        """A second of sound, rate and classes."""
        return {"shape": [self.rate], "rate": self.rate, "classes": self.classes, "trained_on": ""}


class TransformersSpectra(TransformersAudio):
    """One over Kaldi's filter-bank features (AST), which are computed here, so that gradients reach the waveform.

    Args:
        network: of transformers; ``num_mel_bins`` and ``max_length`` of its configuration say what it takes.
        processor: what ``preprocessor_config.json`` says.
    """

    def __init__(self, network: Any, processor: dict[str, Any]) -> None:
        super().__init__(network, processor)
        self.bands, self.frames = int(network.config.num_mel_bins), int(network.config.max_length)
        self.mean, self.deviation = (float(processor.get(key, usual)) for key, usual in USUAL_SPECTRA.items())
        if self.deviation <= 0:
            raise ValueError(f"a std of {self.deviation}")

    def prepare(self, waveforms: Tensor) -> Tensor:
        """Features (N, frames, bands), normalised: the first frames of longer sound, zeros behind shorter."""
        found = filter_bank(waveforms, self.rate, self.bands)[:, : self.frames]
        found = functional.pad(found, (0, 0, 0, self.frames - found.shape[1]))
        if not self.processor.get("do_normalize", True):
            return found
        return (found - self.mean) / (2 * self.deviation)

    def fresh(self, seed: int) -> TransformersSpectra:
        """The same architecture with new weights."""
        network = built_with_seed(seed, lambda: type(self.network)(self.network.config))
        return TransformersSpectra(network, self.processor).eval()


def open_transformers_audio(folder: Path) -> TransformersAudio:
    """The classifier of a ``save_pretrained`` folder.

    Raises:
        UserError: transformers is not installed.
        ArtifactError: its weights do not fit its configuration, it has no linear head, takes other spectrograms
            than AST, or no file says its sampling rate.
    """
    try:
        from transformers import AutoModelForAudioClassification
    except ImportError:
        raise UserError(f"{folder} needs transformers: pip install 'bdm-kit-classification[transformers]'") from None
    network = open_network(AutoModelForAudioClassification, folder, "model").float()
    spectra = hasattr(network.config, "num_mel_bins")
    if network.main_input_name != WAVEFORM or (
        spectra and network.config.model_type != "audio-spectrogram-transformer"
    ):
        raise ArtifactError(
            f"{folder}: {type(network).__name__} takes spectrograms; of those the kit serves AST, and all of waveforms"
        )
    path = folder / PROCESSOR
    if not path.is_file():
        raise ArtifactError(
            f"{folder} has no {PROCESSOR}, which says the sampling rate that the model takes: add the one that it was "
            f'published with, for {USUAL_RATE} Hz at least {{"sampling_rate": {USUAL_RATE}}}'
        )
    try:
        processor = dict(read_json(path))
        check_numbers(path, processor)
        kind = TransformersSpectra if spectra else TransformersAudio
        return kind(network, processor).eval()
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise ArtifactError(f"{path} is not valid: {error}") from None
