"""The smoothed density against SciPy's."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde

from bdm_torch.analysis.charts import density


def test_density_is_a_gaussian_kernel_estimate() -> None:
    values, places = np.random.default_rng(0).normal(size=30), np.linspace(-3, 3, 50)
    np.testing.assert_allclose(density(values, places), gaussian_kde(values)(places), rtol=1e-10)
