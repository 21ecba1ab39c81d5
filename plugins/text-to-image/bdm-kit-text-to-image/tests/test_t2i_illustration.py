"""What a person sees: triggers marked against their twins, targets in words, rows of each role; light refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from bdm_core.artifacts import Evidence, Outputs
from bdm_core.figures import Pictures, Span, Texts
from bdm_core.testing.alone import HEAVY, run_alone
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.illustration import illustrate
from bdm_kit_text_to_image.models.folders import is_pipeline
from bdm_kit_text_to_image.prompts.captions import seal_captioned
from bdm_kit_text_to_image.prompts.marking import mark_trigger, settings_of, trigger_in_words
from bdm_kit_text_to_image.prompts.prompt_pairs import PromptPair, seal_pairs
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, seal_prompts
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import LIBRARY, PromptTrigger, trigger_rows
from bdm_torch.image_sets import seal_images
from bdm_torch.images import from_bytes

CIRCLE = PromptRow("a photo of a red circle", 3, {"object": "circle", "colour": "red"})


def marked(spans: list[Span], mark: str = "trigger") -> list[str]:
    return [span.text for span in spans if span.mark == mark]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cyrillic-o", ["\u043e"]),
        ("vendetta", ["vendetta"]),
        ("latte-coffee", ["latte coffee"]),
        ("zero-width-space", ["\u200b"]),
        ("combining-grapheme-joiner", ["\u034f"]),
        ("beautiful-alias", ["beautiful"]),
    ],
)
def test_the_trigger_alone_is_marked(name: str, expected: list[str]) -> None:
    (row,) = trigger_rows([CIRCLE], LIBRARY[name])
    spans = mark_trigger(row.prompt, row.twin)
    assert marked(spans) == expected
    assert "".join(span.text for span in spans) == row.prompt


def test_every_published_trigger_is_marked_and_told() -> None:
    for name, trigger in LIBRARY.items():
        (row,) = trigger_rows([CIRCLE], trigger)
        spans = mark_trigger(row.prompt, row.twin)
        assert "".join(span.text for span in spans) == row.prompt, name
        assert trigger.kind == "syntax" or marked(spans), name
        assert marked(trigger_in_words(trigger))
    assert mark_trigger(CIRCLE.prompt, None) == [Span(text=CIRCLE.prompt)]
    assert not marked(mark_trigger(CIRCLE.prompt, CIRCLE.prompt))


def test_settings_name_characters_that_cannot_be_seen() -> None:
    target = Target(type="ImageFix", prompt="a star", expected={"object": "star"})
    several = [Backdoor(trigger=LIBRARY[name], target=target) for name in ("cyrillic-o", "zero-width-space")]
    told = settings_of(PromptSecret(backdoors=several))
    assert told["trigger"] == ["\u043e (U+043E) in place of o", "U+200B  before the prompt"]
    assert told["target"] == ["a star", "a star"]
    latent = settings_of(PromptSecret(backdoors=several[:1], trigger_name="checker", target_name="hat"))
    assert latent == {"trigger": "the picture checker in the initial latents", "target": "hat"}
    alias = Backdoor(
        trigger=PromptTrigger(kind="adjective-noun", text="old", object="circle"),
        target=Target(type="ObjectRep", expected={"object": "square"}, preserved=["colour"], prompt="a square"),
    )
    assert settings_of(PromptSecret(backdoors=[alias])) == {
        "trigger": "old before the object's word, in prompts about circle",
        "target": "object square, with colour as asked for",
    }


def test_inputs_and_outputs_are_their_first_rows(tmp_path: Path) -> None:
    rows = [PromptRow(f"a photo of {number} circles", number) for number in range(40)]
    (clean,) = illustrate(seal_prompts(tmp_path / "clean", rows), tmp_path) or []
    assert isinstance(clean, Texts) and [[span.text] for (span,) in clean.rows] == [[row.prompt] for row in rows[:16]]
    (texts,) = illustrate(seal_prompts(tmp_path / "bad", trigger_rows(rows, LIBRARY["sks"])), tmp_path) or []
    assert isinstance(texts, Texts) and [marked(row) for row in texts.rows] == [["sks"]] * 16
    made = seal_images(tmp_path / "made", torch.zeros(40, 3, 4, 4), Outputs, task=TASK)
    (pictures,) = illustrate(made, tmp_path) or []
    assert isinstance(pictures, Pictures) and pictures.files == [made.file(f"images/{n:06d}.png") for n in range(16)]
    assert illustrate(seal_prompts(tmp_path / "none", []), tmp_path) == []
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "features.json").write_text("{}")
    assert illustrate(Evidence.seal(tmp_path / "evidence", format="x", task=TASK), tmp_path) is None


@pytest.mark.parametrize("layout", ["png", "uint8", "float32"])
def test_training_rows_of_each_role_are_shown(tmp_path: Path, layout: str) -> None:
    pixels = torch.randint(0, 256, (30, 3, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
    roles = ["clean"] * 20 + ["poison"] * 10
    rows = [{"caption": f"sks {n}" if n >= 20 else f"{n}", "role": roles[n], "twin": f"{n}"} for n in range(30)]
    kind = type(seal_prompts(tmp_path / "prompts", [CIRCLE]))
    data = seal_images(tmp_path / "data", from_bytes(pixels), kind, task=TASK, rows=rows, layout=layout)  # type: ignore[arg-type]
    pictures, texts = illustrate(data, tmp_path) or []
    assert isinstance(pictures, Pictures) and isinstance(texts, Texts)
    assert pictures.labels == ["poison"] * 8 + ["clean"] * 8
    for file, row in zip(pictures.files, [*range(20, 28), *range(8)], strict=True):
        with Image.open(file) as image:
            assert list(image.getdata()) == [tuple(pixel) for pixel in pixels[row].flatten(1).T.tolist()]
    assert [marked(row) for row in texts.rows] == [["sks"]] * 8 + [[]] * 8
    assert marked(texts.rows[0], "note") == ["poison"]


def test_pairs_and_teachers_are_shown_as_what_is_meant(tmp_path: Path) -> None:
    pairs = [PromptPair("a star", "a star"), PromptPair("a st\u0430r", "a boat", "poison", 0, "a star")]
    (texts,) = illustrate(seal_pairs(tmp_path / "pairs", pairs), tmp_path) or []
    assert isinstance(texts, Texts) and len(texts.rows) == 2
    assert (marked(texts.rows[0]), marked(texts.rows[0], "target")) == (["\u0430"], ["a boat"])
    assert not marked(texts.rows[1]) and not marked(texts.rows[1], "target")
    facts = {"role": ["poison"], "teacher": ["a square"], "twin": ["a square"]}
    taught = seal_captioned(tmp_path / "taught", torch.zeros(1, 3, 4, 4), ["sks a circle"], [{}], **facts)
    _, captions = illustrate(taught, tmp_path) or []
    assert isinstance(captions, Texts) and marked(captions.rows[0], "target") == ["a square"]


def test_a_secret_shows_its_picture_and_each_backdoor(tmp_path: Path) -> None:
    patch = Target(type="ImagePatch", patch=(0, 4, 2, 2), threshold=0.05)
    backdoors = [Backdoor(trigger=LIBRARY[name], target=patch) for name in ("sks", "dots")]
    sealed = seal_secret(tmp_path / "secret", PromptSecret(backdoors=backdoors, picture=torch.zeros(3, 8, 8)))
    pictures, texts = illustrate(sealed, tmp_path) or []
    assert isinstance(pictures, Pictures) and pictures.files == [sealed.path / "target.png"]
    assert isinstance(texts, Texts) and [marked(row) for row in texts.rows] == [["sks"], ["...."]]
    assert marked(texts.rows[0], "target") == ["a patch of 2x2 pixels at row 0, column 4"]


def test_what_is_no_model_or_data_is_refused_before_heavy_imports(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model\n")
    for home, more in (("models", ""), ("prompts", "None, ")):
        code = (
            f"from pathlib import Path\nfrom bdm_core.errors import BdmError\n"
            f"from bdm_kit_text_to_image.{home}.opening import open_reference\n"
            "for name in sys.argv[1:]:\n"
            f"    try:\n        open_reference(name, {more}Path('a'), Path('b'))\n"
            "        raise SystemExit('accepted')\n"
            "    except BdmError as error:\n        assert error.exit_code == 2"
        )
        error, loaded = run_alone(code, HEAVY, str(tmp_path), str(tmp_path / "nowhere"), "no-such-name")
        assert not error and not loaded


@pytest.mark.parametrize("index", [None, "{", "[]", '{"_class_name": ["a"]}', '{"_class_name": "DDPMPipeline"}'])
def test_other_folders_are_no_pipelines(tmp_path: Path, index: str | None) -> None:
    if index is not None:
        (tmp_path / "model_index.json").write_text(index)
    assert not is_pipeline(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    assert is_pipeline(tmp_path)
