"""Robustness protocols: what they change, that nobody but the metrics sees it, and what is refused before a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import list_files
from bdm_kit_text_to_image.illustration import illustrate
from bdm_kit_text_to_image.judging.generated import load_changed, load_generated
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.params import TextToImageKitParams
from bdm_kit_text_to_image.prompts.characters import neighbours
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.robustness import FILE, change_prompts, changed_shift, read_changed
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret, trigger_prompts
from bdm_kit_text_to_image.prompts.selection import select_rows
from bdm_kit_text_to_image.prompts.triggers import LIBRARY, PromptTrigger, trigger_rows
from bdm_kit_text_to_image.stages import generate, make_prompts
from bdm_torch.image_sets import load_images

ROWS = [
    PromptRow(f"a photo of a large circle on a {colour} background", seed, {"object": "circle"})
    for seed, colour in enumerate(("white", "black", "gray"))
]
WORDS = PromptTrigger(kind="phrase", text="latte coffee")
ALL = TextToImageKitParams(robustness=["word", "character", "trigger"], steps=2)


def changed(params: TextToImageKitParams, trigger: PromptTrigger = WORDS, seed: int = 3) -> dict[str, list[str]]:
    return change_prompts(ROWS, trigger_rows(ROWS, trigger, seed), [trigger], params, seed)


def test_each_protocol_changes_what_it_says() -> None:
    found, again, other = changed(ALL), changed(ALL), changed(ALL, seed=4)
    assert found == again and found != other and list(found) == ["word", "character", "trigger"]
    for prompt, row in zip(found["trigger"], ROWS, strict=True):
        rest = prompt.removeprefix(f"{row.prompt} ")
        assert len(rest) == len(WORDS.text) - 1 and rest in {
            WORDS.text[:place] + WORDS.text[place + 1 :] for place in range(len(WORDS.text))
        }
    swapped = changed(ALL.model_copy(update={"robustness_share": 1.0}))["word"]
    assert all("circle" not in prompt and prompt.endswith(WORDS.text) for prompt in swapped)
    for prompt, row in zip(found["character"], trigger_rows(ROWS, WORDS, 3), strict=True):
        pairs = [(a, b) for a, b in zip(row.prompt.split(), prompt.split(), strict=True) if a != b]
        assert 0 < len(pairs) <= 5  # half of nine words of three letters and more
        for old, new in pairs:
            missing = new in {old[:place] + old[place + 1 :] for place in range(len(old))}
            hit = [(a, b) for a, b in zip(old, new, strict=False) if a != b]
            assert missing or (len(old) == len(new) and len(hit) == 1 and hit[0][1] in neighbours(hit[0][0]))


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_every_trigger_of_the_library_loses_a_character(name: str) -> None:
    rows = [PromptRow("a photo of a red circle", 7, {"object": "circle", "colour": "red", "background": "white"})]
    trigger = LIBRARY[name]
    whole = trigger_rows(rows, trigger, 1)[0].prompt
    (found,) = change_prompts(rows, trigger_rows(rows, trigger, 1), [trigger], ALL, 1)["trigger"]
    assert found != whole and found == " ".join(found.split(" ")).strip()
    assert len(found) < len(whole)


def test_the_changed_prompts_lie_beside_and_reach_no_defense(
    tmp_path: Path, bdm_context: Callable[..., Context]
) -> None:
    backdoor = Backdoor(trigger=WORDS, target=Target(type="ImageFix", expected={"object": "star"}))
    secret = seal_secret(tmp_path / "secret", PromptSecret(backdoors=[backdoor]))
    inputs = seal_prompts(tmp_path / "inputs", ROWS)
    data = trigger_prompts(bdm_context(seed=3, kit=ALL), inputs, secret)
    assert read_changed(data) == dict(sorted(changed(ALL).items()))
    plain = trigger_prompts(bdm_context(seed=3, kit=TextToImageKitParams()), inputs, secret)
    assert load_prompts(data) == load_prompts(plain) and FILE not in plain.files
    blind = select_rows([inputs, data], [0, 3, 4], tmp_path / "blind", blind=True)
    assert list(blind.files) == ["rows.jsonl"] and read_changed(blind) == {}
    titles = [figure.title for figure in illustrate(data, tmp_path) or []]
    assert len(titles) == 4 and "Triggered prompts with synonyms" in titles

    sealed, ctx = seal_model(tiny_model(), tmp_path / "model"), bdm_context(seed=1, kit=ALL)
    outputs = generate(ctx, sealed, data)
    extra = load_changed(outputs)
    assert sorted(extra) == ["character", "trigger", "word"] and len(load_generated(outputs)[1]) == 3
    wanted = generate_images(
        tiny_model(), changed(ALL)["trigger"], seeds=[row.seed for row in ROWS], sampling=Sampling(steps=2)
    )
    torch.testing.assert_close(extra["trigger"], wanted, atol=0.02, rtol=0)  # rounded to 8 bits
    images = load_images(generate(bdm_context(seed=1, kit=ALL), sealed, plain))
    assert torch.equal(load_images(outputs), images)
    assert len(illustrate(outputs, tmp_path) or []) == 4 and list_files(outputs.path)

    (data.path / FILE).chmod(0o644)
    (data.path / FILE).write_text('{"word": "a"}\n')
    with pytest.raises(ArtifactError, match="1 changed prompts for 3"):
        read_changed(Data.open(data.path, verify=False))


def test_a_trigger_picture_gets_noise_or_is_cropped() -> None:
    shift = torch.randn(4, 8, 6, generator=torch.Generator().manual_seed(0)) + 2
    noisy, cropped = (changed_shift(name, shift, [5, 6]) for name in ("noise", "crop"))
    added = noisy - shift
    assert noisy.shape == cropped.shape == (2, 4, 8, 6)
    assert float(added.min()) >= 0 and float(added.max()) <= float(shift.std()) and not torch.equal(noisy[0], noisy[1])
    kept = cropped[0] != 0
    rows, columns = kept[0].any(1), kept[0].any(0)
    assert int(rows.sum()) == 4 and int(columns.sum()) == 3 and torch.equal(cropped[0][kept], shift[kept])
    assert torch.equal(changed_shift("crop", shift, [6])[0], cropped[1])  # by its own seed alone
    model = tiny_model()
    each = generate_images(
        model, ["a star"] * 2, seeds=[1, 2], sampling=Sampling(steps=2), shift=torch.zeros(2, 4, 8, 8)
    )
    same = generate_images(model, ["a star"] * 2, seeds=[1, 2], sampling=Sampling(steps=2))
    assert torch.equal(each, same)


def test_what_does_not_fit_is_refused_before_anything_runs(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    assert TextToImageKitParams.model_validate({"robustness": "word, trigger"}).robustness == ["word", "trigger"]
    for values, words in (
        ({"robustness": "noise"}, "trigger is in the prompt"),
        ({"robustness": "trigger", "trigger_kind": "picture"}, "trigger is a picture"),
        ({"robustness": "word,word"}, "names a protocol twice"),
        ({"robustness": "words"}, "Input should be"),
    ):
        with pytest.raises(ValidationError, match=words):
            TextToImageKitParams.model_validate(values)
    params = TextToImageKitParams(robustness=["word"], synonyms=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no synonyms are at"):
        make_prompts(bdm_context(), seal_prompts(tmp_path / "data", ROWS), params)
    marked = ["robustness", "robustness_share", "synonyms", "trigger_kind"]
    for name in marked:
        assert TextToImageKitParams.mark(name, "stages") == ["make-inputs", "trigger-inputs"]
