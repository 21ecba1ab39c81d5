"""Parameters of ``defense:neural-cleanse``. Light: no torch."""

from __future__ import annotations

from bdm_kit_classification.inversion.params import InversionParams


class NeuralCleanseParams(InversionParams):
    """Parameters of ``defense:neural-cleanse``: those of every detector by inversion."""
