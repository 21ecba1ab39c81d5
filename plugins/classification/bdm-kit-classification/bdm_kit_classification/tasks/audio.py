"""The task of sound. Light: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bdm_core.errors import UserError
from bdm_core.files import walk
from bdm_core.records import BuiltIn
from bdm_kit_classification.tasks.base import Task

AUDIO_TASK = "audio-classification"
SPOKEN_DIGITS, SPEAKERS, TINY = "spoken-digits", "speakers", "tiny-audio"
FURTHER_SPEAKERS = "further-speakers"
ESPEAK_DIGITS = "espeak-digits"
"""Made by the program espeak-ng, where it is installed."""
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".au", ".aiff", ".mp3"})
"""Sound files that are read."""
SPEECH = ("Wav2Vec2", "Hubert", "WavLM", "UniSpeech", "SEW", "Data2VecAudio", "Whisper")
"""How classes of transformers begin whose ``ForSequenceClassification`` judges sound."""


class AudioTask(Task):
    """Classifiers of recordings."""

    tag = AUDIO_TASK
    about = "sound"
    modality = "bdm_kit_classification.modalities.audio:Audios"
    illustration = "bdm_kit_classification.audio_illustration"
    tiny = TINY
    models: ClassVar[list[BuiltIn]] = [
        BuiltIn(
            name="spoken-digits-cnn",
            task=AUDIO_TASK,
            summary="Small convolutional network over log-mel bands for spoken-digits",
            size="15,554 parameters, half a second at 8 kHz, 10 classes",
            quality="accuracy .992 on 480 test recordings of unseen speakers",
            data=SPOKEN_DIGITS,
        ),
        BuiltIn(
            name="spoken-digits-cnn-wide",
            task=AUDIO_TASK,
            summary="The same network, four times as wide, for defenses that need many units",
            size="241,898 parameters, half a second at 8 kHz, 10 classes",
            quality="accuracy .996 on 480 test recordings of unseen speakers",
            data=SPOKEN_DIGITS,
        ),
        BuiltIn(
            name="spoken-digits-m5",
            task=AUDIO_TASK,
            summary="M5, a convolutional network over the waveform, for spoken-digits",
            size="10,634 parameters, half a second at 8 kHz, 10 classes",
            quality="accuracy .967 on 480 test recordings of unseen speakers",
            data=SPOKEN_DIGITS,
        ),
        BuiltIn(
            name="speakers-x-vector",
            task=AUDIO_TASK,
            summary="X-vector network for speakers",
            size="48,592 parameters, half a second at 8 kHz, 16 classes",
            quality="accuracy .664 on 384 test recordings of words that training has not",
            data=SPEAKERS,
        ),
    ]
    data_sets: ClassVar[list[BuiltIn]] = [
        BuiltIn(
            name=SPOKEN_DIGITS,
            task=AUDIO_TASK,
            summary="Ten spoken digits of made-up speakers, by source-filter synthesis; each speaker is in one part",
            size="2,000 training, 200 reserve and 480 test recordings of half a second at 8 kHz",
        ),
        BuiltIn(
            name=SPEAKERS,
            task=AUDIO_TASK,
            summary="Sixteen made-up speakers, to be told apart in words that training has not",
            size="1,344 training, 112 reserve and 384 test recordings of half a second at 8 kHz",
        ),
        BuiltIn(
            name=FURTHER_SPEAKERS,
            task=AUDIO_TASK,
            summary="Thirty-two further made-up speakers, for verification of speakers that training did not hear",
            size="448 training, 224 reserve and 288 test recordings of half a second at 8 kHz",
        ),
    ]
    folders: ClassVar[dict[str, str]] = {model.name: model.name for model in models} | {TINY: TINY}
    data = frozenset({SPOKEN_DIGITS, SPEAKERS, FURTHER_SPEAKERS, ESPEAK_DIGITS, TINY})
    architectures = frozenset({"log-mel-cnn", "m5", "x-vector"})
    ending = "ForAudioClassification"

    def takes(self, architecture: str) -> bool:
        """Networks of speech are named as those of texts."""
        return super().takes(architecture) or (
            architecture.startswith(SPEECH) and architecture.endswith("ForSequenceClassification")
        )

    def kind_of(self, path: Path) -> str:
        """``classes`` for folders of sound files by class."""
        if path.is_dir() and any(file.suffix.lower() in SUFFIXES for file in walk(path)):
            return "classes"
        raise UserError(f"{path} holds no sound: expected a sub-folder of WAV or FLAC files for each class")
