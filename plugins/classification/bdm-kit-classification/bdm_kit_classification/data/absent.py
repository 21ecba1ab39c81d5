"""Stand-ins for data that nobody named and the model does not know of either. Light: no torch.

A scan by the weights alone needs no data. So :meth:`bdm_kit_classification.plugin.ClassificationKit.open_data` makes a
stand-in, and who looks into it refuses, by :func:`require_present`, which every reader of samples calls.
"""

from __future__ import annotations

from pathlib import Path

from bdm_core.artifacts import Data, Model
from bdm_core.errors import UserError

FORMAT = "no-samples"
FACTS = ("shape", "rate", "classes")
"""What the manifests of models and of data have in common, where a task has it."""
NEEDED = "needs clean data, and the model does not say which it was trained on: name some with --data"


def is_unnamed(reference: str | None, model: Model) -> bool:
    """Whether neither the user nor the model says which data are meant."""
    return not reference and not model.meta.get("trained_on")


def seal_absent(folder: Path, like: Model | Data, count: int = 0) -> Data:
    """A stand-in, sealed in ``folder``. There is one row to draw from it, so that the defender's share can be drawn.

    Args:
        folder: where to.
        like: the model that the data are for, or another stand-in for them: its task and the facts of its manifest.
        count: how many rows were asked of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("", encoding="utf-8")
    facts = {name: like.meta[name] for name in FACTS if name in like.meta}
    return Data.seal(folder, format=FORMAT, task=like.task, meta={**facts, "count": count, "reserve": 1})


def is_absent(data: Data) -> bool:
    """Whether data are a stand-in for none."""
    return data.format == FORMAT


def require_present(data: Data) -> None:
    """Refuse a stand-in: who asks looks at samples.

    Raises:
        UserError: the data are one.
    """
    if is_absent(data):
        raise UserError(NEEDED)
