"""The classifiers of the built-in data sets; the Frechet distance of the built-in models is measured in their features.

``python -m bdm_kit_diffusion.recipes.digits_classifier`` (``shapes_classifier``) rebuilds them.
"""

from __future__ import annotations

from pathlib import Path

from bdm_kit_diffusion.built_in import BUILTIN

BUILTIN_CLASSIFIER = BUILTIN / "digits-classifier"
SHAPES_CLASSIFIER = BUILTIN / "shapes-classifier"
CLASSIFIERS: dict[tuple[int, int, int], Path] = {(1, 8, 8): BUILTIN_CLASSIFIER, (3, 16, 16): SHAPES_CLASSIFIER}
"""The shipped classifier for images of a shape (C, H, W)."""
