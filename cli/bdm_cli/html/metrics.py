"""What the usual metrics mean, in a line; other metrics are explained by their plugin's summary."""

from __future__ import annotations

from typing import Any

from bdm_cli.html.material import mapping

_MEANING = {
    "mse": "Mean squared error between the samples and the attack's target, pixels in [0, 1].",
    "ssim": "Structural similarity of the samples to the target: 1 if they are the same picture.",
    "asr": "Attack success rate: share of triggered samples that show the attack's target. With a threshold in the "
    "name: those whose mean squared error to it is lower.",
    "leak": "Share of samples that show the target although the input carries no trigger.",
    "psr": "Share of triggered samples that keep the attributes of their prompt which the attack does not aim at.",
    "acc": "Share of clean samples that show what their prompt asks for.",
    "frechet": "Fréchet distance between the features of samples and training images: 0 if equally distributed.",
    "fid": "Fréchet distance in the feature space of the Inception network: 0 if equally distributed.",
    "fd": "Fréchet distance between the features of samples and training images: 0 if equally distributed.",
    "lpips": "Perceptual distance of the samples to the target in the features of AlexNet: 0 if equal.",
    "verdict": "What the detector says of this model.",
    "tpr": "True positive rate: share of triggered inputs that the detector flags.",
    "tnr": "True negative rate: share of clean inputs that the detector lets pass.",
    "auroc": "Probability that a triggered input gets a higher score than a clean one.",
    "score": "The detector's score: higher is more suspicious, above the threshold is backdoored.",
    "threshold": "The score above which the detector says backdoored; it comes from clean material only.",
    "p_value": "Probability of such a score or a higher one if the model is clean.",
    "accuracy": "Share of clean inputs that get the right label.",
}

_SHARES = frozenset({"asr", "leak", "ssim", "p_value", "accuracy", "acc", "psr", "tpr", "tnr", "auroc"})


def base_name(metric: str) -> str:
    """``metric:target.asr@0.05`` -> ``asr``."""
    return metric.split(":", 1)[-1].partition(".")[2].partition("@")[0].lower()


def shown_name(metric: str, label: str) -> str:
    """The measurement's own label, or else the metric's name without its plugin."""
    return label or metric.split(":", 1)[-1].partition(".")[2] or metric


def is_share(metric: str) -> bool:
    """Whether its values lie in [0, 1] by definition (SSIM almost always)."""
    return base_name(metric) in _SHARES


def is_attack_success(metric: str) -> bool:
    """Whether this is the attack success rate."""
    return base_name(metric) == "asr"


def explain(metric: str, plugins: dict[str, Any]) -> str:
    """One line on a metric."""
    base, plugin = base_name(metric), metric.split(":", 1)[-1].partition(".")[0]
    for name in (base, base.partition("-")[0], base.partition("_")[0], plugin):
        if name in _MEANING:
            return _MEANING[name]
    summary = str(mapping(plugins.get(metric.split(".", 1)[0])).get("summary") or "")
    return f"{summary.rstrip('.')}." if summary else "The plugin gives no description."
