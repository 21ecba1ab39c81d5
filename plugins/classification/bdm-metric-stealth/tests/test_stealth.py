"""Distances against closed forms."""

import base64
import io
import math
import sys
import types

import pytest
import torch
from PIL import Image

from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.modalities.registry import modality_of
from bdm_metric_stealth.measure import measure
from bdm_metric_stealth.params import StealthParams
from bdm_metric_stealth.showing import show_extremes, show_values
from bdm_torch.analysis.showing import kept_array


class TestStealth(MetricConformance):
    plugin = "stealth"
    task = "image-classification"

    def test_a_white_corner_changes_at_most_everything(self, bench):
        found = {item.metric: item.value for item in self.calls(bench)["perfect attack"].value}
        assert 0.9 < found["l_infinity"] <= 1 and found["psnr"] < 20 and found["ssim"] < 1


class TestTexts(MetricConformance):
    plugin = "stealth"
    task = "text-classification"

    def test_a_word_more(self, bench):
        found = {item.metric: item.value for item in self.calls(bench)["perfect attack"].value}
        assert 4 < found["edits"] < 20 and found["same_words"] == 1 and found["perplexity_rise"] > 0.3


def witten_bell(sequences, symbol, context, lowest):
    """The probability of a symbol by its recursive definition: that of the shorter context, weighted by kinds seen."""
    padded = [("<", "<", *sequence, ">") for sequence in sequences]
    size = len(context)
    seen = [text[place] for text in padded for place in range(2, len(text)) if text[place - size : place] == context]
    shorter = witten_bell(sequences, symbol, context[1:], lowest) if size else lowest
    return (seen.count(symbol) + len(set(seen)) * shorter) / (len(seen) + len(set(seen))) if seen else shorter


def test_the_rise_of_perplexity_is_that_of_trigrams():
    others = ["a good film", "a bad film", "so good"]
    words = [tuple(text.split()) for text in others]

    def cost(text):
        padded, total = ("<", "<", *text.split(), ">"), 0.0
        for place in range(2, len(padded)):
            word, spelled = padded[place], 1e-9
            if word != ">":
                letters, spelled = ("<", "<", *word, ">"), 1.0
                for at in range(2, len(letters)):
                    spelled *= witten_bell([w for t in words for w in t], letters[at], letters[at - 2 : at], 1e-9)
            total -= math.log(witten_bell(words, word, padded[place - 2 : place], spelled))
        return total / (len(padded) - 2)

    clean, changed = ["a good film", "a good film", "so bad"], ["a good film", "a good cf film", "so bad film"]
    found = modality_of("text-classification").fitted_distances(clean, changed, others)["perplexity_rise"]
    expected = [cost(new) - cost(old) for old, new in zip(clean, changed, strict=True)]
    assert found.tolist() == pytest.approx(expected, abs=1e-5) and expected[0] == 0 < expected[1]
    assert modality_of("text-classification").fitted_distances(["a"], ["b"], []) == {}


class TestSound(MetricConformance):
    plugin = "stealth"
    task = "audio-classification"

    def test_a_loud_end(self, bench):
        found = {item.metric: item.value for item in self.calls(bench)["perfect attack"].value}
        assert found["snr"] < 5 and found["log_spectral_distance"] > 0


def test_distances_of_a_constant_shift():
    clean = torch.full((2, 3, 16, 16), 0.25)
    found = modality_of("image-classification").distances(clean, clean + 0.5)
    a, b = 0.25, 0.75
    assert found["psnr"].tolist() == pytest.approx([-10 * math.log10(0.25)] * 2)
    assert found["l_infinity"].tolist() == [0.5, 0.5]
    assert found["ssim"].tolist() == pytest.approx([(2 * a * b + 1e-4) / (a * a + b * b + 1e-4)] * 2)


def stealth_of(bench):
    """The numbers of the backdoored model's row, and what the stage kept."""
    from bdm_kit_classification.stages import tiny_secret

    kept = {}
    ctx = bench.context("score", on_figures=merged(kept))
    outputs = bench.generate(bench.model, bench.inputs())
    secret = tiny_secret(ctx.out / "secret", bench.model)
    sides = {"on_clean": outputs, "on_triggered": outputs, "reference": bench.data, "secret": secret}
    return measure(ctx, StealthParams(samples=4), Subject(role="backdoored", model=bench.model, **sides)), kept


def test_lpips_is_absent_and_said_where_it_cannot_run(bdm_bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    found, kept = stealth_of(bdm_bench("image-classification"))
    assert "lpips" not in {item.metric for item in found}
    assert "LPIPS cannot run" in kept["left_out"] and "bdm-kit-classification[lpips]" in kept["left_out"]


class Distance(torch.nn.Module):
    """Stands for the network: the mean absolute difference of a pair of pictures."""

    def __init__(self, **options):
        super().__init__()

    def forward(self, one, other):
        assert one.shape == other.shape == (1, 3, 64, 64)
        return (one - other).abs().mean()


def test_lpips_is_measured_where_it_can(bdm_bench, monkeypatch):
    fake = types.ModuleType("torchmetrics.image.lpip")
    fake.LearnedPerceptualImagePatchSimilarity = Distance
    monkeypatch.setitem(sys.modules, "torchmetrics.image.lpip", fake)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    found, kept = stealth_of(bdm_bench("image-classification"))
    (lpips,) = (item for item in found if item.metric == "lpips")
    assert lpips.n == 4 and 0 < lpips.value < 0.2 and lpips.higher_is_better and "left_out" not in kept


def merged(kept):
    """What is kept through a context, mappings of one name merged as in a run."""

    def keep(figures):
        for name, value in figures.items():
            kept[name] = {**kept.get(name, {}), **value} if isinstance(value, dict) else value

    return keep


def test_values_are_kept_sample_by_sample_and_shown(tmp_path):
    clean = torch.full((4, 1, 16, 16), 0.25)
    changed = clean.clone()
    for row in range(4):
        changed[row, :, : 4 * row] += 0.5
    modality, kept = modality_of("image-classification"), {}
    found = modality.distances(clean, changed)
    ctx = new_context(tmp_path, on_figures=merged(kept))
    show_values(ctx, found, {name: modality.measures[name].label for name in found})
    show_extremes(ctx, clean, changed, found["ssim"])
    psnr = kept_array(kept, "psnr, one a sample")
    errors = [0.25 * row / 4 for row in range(1, 4)]
    assert psnr[0] == 100 and psnr[1:].tolist() == pytest.approx([-10 * math.log10(error) for error in errors], 1e-4)
    assert kept_array(kept, "l_infinity, one a sample").tolist() == [0, 0.5, 0.5, 0.5]
    shown = kept["pictures"]["samples by how much the trigger changes them"]
    picture = Image.open(io.BytesIO(base64.b64decode(shown["files"][0]["png"])))
    assert "times 1.0" in shown["caption"] and picture.size == (4 * 64 + 3 * 4, 3 * 64 + 2)
    assert picture.getpixel((5, 70))[0] == 191 and picture.getpixel((5, 150))[0] == 255, "the most changed is first"
    assert picture.getpixel((260, 70))[0] == 64 and picture.getpixel((260, 150))[0] in (127, 128)


def test_a_run_keeps_a_value_for_each_sample(bdm_bench):
    found, kept = stealth_of(bdm_bench("image-classification"))
    for item in found:
        values = kept_array(kept, f"{item.metric}, one a sample")
        assert len(values) == item.n and values.mean() == pytest.approx(item.value, rel=1e-4)
    assert "samples by how much the trigger changes them" in kept["pictures"]
