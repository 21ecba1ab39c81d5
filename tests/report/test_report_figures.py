"""What the report makes of the figures that a kit and a defense give, and of plugins that fail to."""

from __future__ import annotations

import html
import io
import re
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bdm_cli.html import audio, render, texts
from bdm_core.artifacts import Data, Outputs, Secret
from bdm_core.figures import Span, Texts
from bdm_core.records import Backdoored
from bdm_results.view import RunView

Run = Callable[..., RunView]
Words = Callable[[str], str]


def clip(frames: int = 100) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\1" * frames)
    return stream.getvalue()


def span(text: str, mark: str = "") -> dict[str, str]:
    return {"text": text, "mark": mark}


def test_prompts_stand_beside_trigger_and_target_with_marks(words: Words, writer: Any) -> None:
    triggered = [
        [span("a c"), span("\u0430", "trigger"), span("t")],
        [span("a "), span("\u200b", "trigger"), span("dog")],
    ]
    writer.stage("inputs", writer.rows(Data, "texts", texts=[[span("a cat")], [span("a dog")]]))
    writer.stage("triggered inputs", writer.rows(Data, "texts", texts=triggered))
    told = writer.rows(Secret, "texts", texts=[[span("a tree", "target")]])
    writer.stage("backdoored model", lambda out: Backdoored(model=writer.model(out), secret=told(out)))
    writer.stage("backdoored samples", writer.samples(0.0, 8))
    page = render(writer.finish(detections={}))
    assert '<mark class="trigger" title="trigger: U+0430">\u0430</mark>t' in page
    assert '<mark class="trigger" title="trigger: U+200B">U+200B</mark>dog' in page, "no glyph: the code point is told"
    assert '<mark class="target" title="target">a tree</mark>' in page
    text = words(page)
    assert "Marked: trigger, target." in text
    assert text.index("Clean inputs") < text.index("Triggered inputs") < text.index("Backdoored model, clean inputs")


def test_hostile_text_and_labels_are_escaped(parsed: Any, writer: Any) -> None:
    evil = "</li></ul><script>alert(1)</script><img src=x onerror=alert(2)>\u202e"
    writer.stage("inputs", writer.rows(Data, "texts", texts=[[span(evil), span(evil, "note"), span(evil, "removed")]]))
    writer.stage("triggered inputs", writer.rows(Data, "sounds", a=clip(), labels=[evil]))
    writer.stage("clean samples", writer.rows(Outputs, "raises", x=[evil]))
    settings = {"settings": {evil: evil, "nested": {evil: [evil]}}}
    writer.stage("poisoned data", writer.images(format="images", meta={}), figures=settings)
    page = render(writer.finish())
    assert "<script" not in page and "<img src=x" not in page
    assert {name for _, name, _ in parsed(page).attributes}.isdisjoint({"onerror"})
    assert page.count("alert(1)") >= 7


def test_sound_has_a_player_and_is_embedded(parsed: Any, writer: Any) -> None:
    sounds = {"a": clip(), "b": clip(50), "c": b"no sound", "labels": ["yes", "no", "odd"]}
    writer.stage("inputs", writer.rows(Data, "sounds", **sounds))
    page = render(writer.finish())
    found = [value for tag, name, value in parsed(page).attributes if (tag, name) == ("audio", "src")]
    assert len(found) == 2 and all(value.startswith("data:audio/wav;base64,UklGR") for value in found)
    assert "c.wav is no WAV file" in page and "<span>odd</span>" in page


def test_sound_is_embedded_only_as_far_as_the_page_has_room(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.wav").write_bytes(clip(100))
    (tmp_path / "long.wav").write_bytes(clip(audio.CLIP_LIMIT))
    made = audio.Player(2 * len(clip(100))).draw([tmp_path / f"{name}.wav" for name in ("a", "b", "c")], [], "clip")
    assert made.count("<audio") == 2 and "c.wav is too large for this page" in made
    assert "<audio" not in audio.Player().draw([tmp_path / "long.wav", tmp_path / "gone.wav"], [], "clip")


def test_labels_make_single_pictures(writer: Any, words: Words) -> None:
    def labelled(out: Path) -> Outputs:
        for index in range(3):
            writer.png(out / "outputs" / f"{index}.png", writer.blob())
        (out / "outputs" / "labels.json").write_text('["cat", "dog", "tree"]')
        return Outputs.seal(out / "outputs", format="images", task="shown")

    writer.stage("clean samples", labelled)
    page = render(writer.finish())
    assert page.count("<img") == 3 and "cat dog tree" in words(page)


@pytest.mark.parametrize("format", ["outside", "linked"])
def test_a_file_that_is_not_the_artifacts_is_refused(tmp_path: Path, format: str, words: Words, writer: Any) -> None:
    foreign = tmp_path / "foreign.png"
    Image.new("L", (4, 4)).save(foreign)
    writer.stage("inputs", writer.images(format=format, meta={"file": str(foreign)}))
    page = render(writer.finish())
    text = words(page)
    assert "Not shown: foreign.png is neither part of the artifact nor below ctx.out." in text and "<img" not in page
    assert format == "linked" or "still here" in text, "the other figures are shown"


def test_a_file_that_the_hook_wrote_is_shown(words: Words, writer: Any) -> None:
    writer.stage("inputs", writer.images(format="written"))
    page = render(writer.finish())
    assert page.count("<img") == 1 and "Written by the kit." in words(page)


def test_a_kit_that_fails_costs_its_part_only(words: Words, writer: Any) -> None:
    writer.stage("inputs", writer.images())
    writer.stage("clean samples", writer.rows(Outputs, "raises", x=1))
    page = render(writer.finish())
    assert "kit:shown could not show it: ValueError: the rows are <b>odd</b>" in html.unescape(page)
    assert page.count("<img") == 1 and "Provenance" in words(page)


def test_a_kit_that_is_missing_is_named_once_for_all_samples(tmp_path: Path, words: Words, complete_run: Run) -> None:
    plugins = {"kit:gone": {"distribution": "bdm-kit-gone"}, "defense:elijah": {"distribution": "bdm-shown"}}
    page = render(complete_run(tmp_path, plugins=plugins))
    text = words(page)
    samples, evidence = text.split("Samples kit:gone")[1].split("Evidence kit:gone")
    assert "cannot be asked what to show: no kit 'bdm-kit-gone:gone' is installed" in samples
    assert "kit:gone" not in samples and "0.977 ±0.010" in text
    assert "inverted trigger" in evidence and "uniformity" in evidence, "the defense was asked all the same"


def test_a_run_that_names_no_kit(writer: Any, words: Words) -> None:
    writer.stage("inputs", writer.images())
    assert "The run does not say which kit made it." in words(render(writer.finish(plugins={})))


def test_a_defense_that_is_missing_leaves_the_features(tmp_path: Path, words: Words, complete_run: Run) -> None:
    plugins = {"kit:shown": {"distribution": "bdm-shown"}, "defense:elijah": {"distribution": "bdm-gone"}}
    text = words(render(complete_run(tmp_path, plugins=plugins)))
    assert "defense:elijah cannot be asked what to show" in text and "uniformity" in text
    assert "inverted trigger" not in text and "true trigger" in text


def test_arrays_of_one_shape_are_drawn_on_one_scale_and_compared(tmp_path: Path, complete_run: Run) -> None:
    page = render(complete_run(tmp_path))
    found = re.search(r"cosine similarity <b>([\d.]+)</b>, norm ratio ([\d.]+)\.", page)
    assert found is not None
    assert 0.9 < float(found[1]) < 1.0, "0.8 times the true trigger with noise of 0.2"
    assert 0.75 < float(found[2]) < 0.9


def test_settings_are_those_that_the_attack_really_used(writer: Any, words: Words) -> None:
    settings = {"target": ["a tree", "a house"], "placeholder": "\u200b", "unused": None, "rows": 12}
    writer.stage("backdoored model", writer.backdoored, figures={"settings": settings})
    text = words(render(writer.finish()))
    shown = text.split("Settings of the attack")[1]
    assert "target a tree, a house" in shown and "rows 12" in shown and "unused" not in text
    assert 'target=["a tree", "a house"]' in shown, "in the table of plugins too"


def test_poisoned_data_is_what_the_attack_really_used(writer: Any) -> None:
    def backdoored(out: Path) -> Backdoored:
        made = writer.backdoored(out)
        (out / "data").mkdir()
        (out / "data" / "texts.json").write_text('[[{"text": "as it really was"}]]')
        return made.model_copy(update={"view": Data.seal(out / "data", format="texts", task="shown")})

    writer.stage("poisoned data", writer.rows(Data, "texts", texts=[[span("as it was planned")]]))
    writer.stage("backdoored model", backdoored)
    page = render(writer.finish())
    assert "as it really was" in page and "as it was planned" not in page


def test_characters_that_turn_a_line_around_are_written_out() -> None:
    row = [Span(text="neg\u202e | ", mark="note"), Span(text="a \u202eeb\u2066 \0 caf\u00e9 \u05d0")]
    shown = str(texts.draw(Texts(rows=[row])))
    assert "a U+202Eeb" in shown and "U+2066" in shown and "U+0000" in shown and "negU+202E" in shown
    assert "caf\u00e9 \u05d0" in shown and not set("\u202e\u2066\0") & set(shown)
