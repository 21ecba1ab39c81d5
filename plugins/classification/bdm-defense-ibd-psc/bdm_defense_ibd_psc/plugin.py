"""The plugin ``defense:ibd-psc``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_ibd_psc.params import PAPER, IbdPscParams
from bdm_kit_classification.defending.requirements import require_norms, require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class IbdPsc(Defense):
    """Amplifies the last normalisations and flags inputs whose predicted class keeps its confidence."""

    name = "ibd-psc"
    summary = "Flag inputs whose confidence survives amplified batch normalisations"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2405.09786"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = IbdPscParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"models": 1, "least_error": 0.1, "largest_factor": 16.0}

    def check(self, params: IbdPscParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    def check_model(self, params: IbdPscParams, model: Model) -> None:
        """Refuse a model without so many batch normalisations."""
        require_norms(self, model, params.models + 1)

    @hookimpl
    def detect(self, ctx: Context, params: IbdPscParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_ibd_psc.detection import detect

        return detect(ctx, params, model, data, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: IbdPscParams, model: Model, data: Data, inputs: Data) -> Purified:
        from bdm_defense_ibd_psc.detection import reject

        return reject(ctx, params, model, data, inputs)
