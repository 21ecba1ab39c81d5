"""The features of TERD's model detection: how far the estimated trigger moves the noise, pixel by pixel.

k_i = KL(N(r_i, gamma_i^2) || N(0, 1)) = -log gamma_i + (gamma_i^2 + r_i^2 - 1) / 2; M_r is its mean over the image and
V_r its variance, so that models of all sizes compare. (The authors' code adds 0.4 to M_r and takes 0.003 from V_r; a
constant changes nothing in a comparison with clean models.)
"""

from __future__ import annotations

from torch import Tensor

from bdm_kit_diffusion.inversion.pair_estimation import LEAST_DEVIATION


def divergence(trigger: Tensor, deviation: Tensor) -> Tensor:
    """k of each value, of the shape given, float64, at least 0. Deviations below 1e-3 count as 1e-3."""
    spread = deviation.double().clamp(min=LEAST_DEVIATION)
    return -spread.log() + (spread**2 + trigger.double() ** 2 - 1) / 2


def divergence_features(trigger: Tensor, deviation: Tensor) -> tuple[float, float]:
    """(M_r, V_r) of a trigger (C, H, W) and a deviation (C, H, W)."""
    values = divergence(trigger, deviation)
    return float(values.mean()), float(values.var(unbiased=False))
