"""Parameters of noise as a factor of an experiment. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core.plugin import Field, Params

STAGES = ["open-data"]


class NoiseParams(Params):
    """Noise of training rows and of their labels, drawn before any poison; reserve and test part stay as they are."""

    data_noise: str | None = Field(
        None,
        description="Noise of training samples: gaussian, jpeg or blur of pictures; character, keyboard, ocr or "
        "word-drop of texts; white, pink or gain of sound; null: none.",
        stages=STAGES,
    )
    data_noise_rate: float = Field(0.25, gt=0, le=1, description="Share of noisy samples.", stages=STAGES)
    data_noise_level: float | None = Field(
        None,
        description="How strong: deviation in [0, 1], JPEG quality, pixels of blur; share of letters, of look-alikes "
        "or of words; signal-to-noise ratio or gain in dB. null: .1, 25, 1; .1, .3, .2; 10, 12.",
        stages=STAGES,
    )
    label_noise: Literal["none", "uniform", "class-dependent"] = Field(
        "none",
        description="Wrong labels of training rows; uniform: any other class alike; class-dependent: the class that "
        "follows, the first after the last.",
        stages=STAGES,
    )
    label_noise_rate: float = Field(0.25, gt=0, le=1, description="Share of wrong labels.", stages=STAGES)
    noise_rows: Literal["all", "clean", "poisoned"] = Field(
        "all",
        description="Rows that both kinds of noise are for: all, those that the attack leaves alone, or those that it "
        "changes; the latter two only of attacks that change rows before they train.",
        stages=STAGES,
    )
    noise_seed: int | None = Field(
        None,
        ge=0,
        description="Draws the noise, and nothing else does; null: one that follows from the run's seed.",
        stages=STAGES,
    )
