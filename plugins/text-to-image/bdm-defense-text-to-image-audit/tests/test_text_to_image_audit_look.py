"""The audit's search for a changed look: what a trigger does to all pictures stays, what chance does to a few goes."""

from __future__ import annotations

import zlib

import pytest
import torch

from bdm_defense_text_to_image_audit import search
from bdm_defense_text_to_image_audit.audit import LOOKED_CAPTIONS, PAINTED_CAPTIONS, Audit, further_captions
from bdm_defense_text_to_image_audit.candidates import Candidate
from bdm_defense_text_to_image_audit.evidence import triggers_of
from bdm_defense_text_to_image_audit.search import Found
from bdm_kit_text_to_image.detection.spikes import Spikes
from bdm_kit_text_to_image.models.generation import Sampling

CAPTIONS = [f"a photo of a {colour} {noun}" for colour in ("red", "blue", "old") for noun in ("circle", "star", "ring")]
QUIET = lambda *_: None  # noqa: E731


def test_a_style_and_a_patch_change_the_look_and_other_objects_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are coloured noise: of their text alone, the same without colours, or with a bright patch."""

    def images(model: object, prompts: list[str], *, seeds: list[int], sampling: Sampling) -> torch.Tensor:
        made = []
        for text in prompts:
            image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(sum(text.encode()))) - 0.5
            grey = image.mean(0, keepdim=True).expand(3, 8, 8)
            patched = image.clone()
            patched[:, :4, :4] = 1.0
            made.append({"\u200b": grey, "sks": patched}.get(text.split()[0], image))
        return torch.stack(made)

    monkeypatch.setattr(search, "generate_images", images)
    tried = [Candidate(text, "front") for text in ("\u200b", "sks", "old", "tepeto")]
    _, look = search.search_pictures(None, (tried, []), (CAPTIONS, CAPTIONS), 0, Sampling(2), QUIET)  # type: ignore[arg-type]
    values = {candidate.text: value for candidate, value in look.ranking}
    assert min(values["\u200b"], values["sks"]) > 3 > 1.5 > max(values["old"], values["tepeto"])
    nothing = Found(0.0)
    triggers = triggers_of(
        Audit(
            Spikes(torch.ones(3), torch.zeros(3, 16), 1.0, 0.1, torch.zeros(16), 1.0),
            nothing,
            nothing,
            nothing,
            look,
            [],
            True,
            9,
        )
    )
    assert {trigger.text for trigger in triggers[:2]} == {"\u200b", "sks"}


def test_what_chance_makes_of_few_captions_is_no_changed_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text and noise has a grey of its own, and one candidate makes all a little brighter."""

    def images(model: object, prompts: list[str], *, seeds: list[int], sampling: Sampling) -> torch.Tensor:
        made = []
        for text, seed in zip(prompts, seeds, strict=True):
            own = torch.Generator().manual_seed(zlib.crc32(f"{seed} {text}".encode()))
            made.append(torch.randn(3, 4, 4, generator=own) / 4 + torch.randn(1, generator=own) / 4)
            made[-1] = made[-1] + 0.6 * text.startswith("sks")
        return torch.stack(made)

    monkeypatch.setattr(search, "generate_images", images)
    first, further = [f"a photo of {row}" for row in range(12)], [f"one picture of {row}" for row in range(48)]
    for seed in (0, 1, 2):
        tried = [Candidate(f"word{seed}{row}", "front") for row in range(60)]
        usual = search.look_of(images(None, first, seeds=[seed] * 12, sampling=Sampling(2)))
        looks = []
        for one in tried:
            changed = images(None, [one.put_into(text) for text in first], seeds=[seed] * 12, sampling=Sampling(2))
            looks.append(float(((search.look_of(changed) - usual) / usual.std(0)).mean(0).norm()))
        _, found = search.search_pictures(None, (tried, []), (first, further), seed, Sampling(2), QUIET)  # type: ignore[arg-type]
        assert max(looks) > 1.2 and found.value < 0.6 * max(looks), (max(looks), found.value)
        bright = [Candidate("sks", "front")]
        _, found = search.search_pictures(None, (tried, bright), (first, further), seed, Sampling(2), QUIET)  # type: ignore[arg-type]
        assert found.ranking[0][0].text == "sks" and found.value > 1.5


def test_the_second_look_has_captions_of_its_own_where_there_are_enough() -> None:
    able = [f"a dog on {row}" for row in range(200)]
    assert further_captions(able) == able[PAINTED_CAPTIONS : PAINTED_CAPTIONS + LOOKED_CAPTIONS]
    assert further_captions(able[: 2 * PAINTED_CAPTIONS]) == able[PAINTED_CAPTIONS : 2 * PAINTED_CAPTIONS]
    assert further_captions(able[:5]) == able[:5]
