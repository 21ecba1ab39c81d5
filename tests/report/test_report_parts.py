"""Parts of the report against independent answers: pixels, geometry, number formats, arrays, nested JSON."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bdm_cli.html import arrays, charts, features, kept, kept_pictures, numbers, pictures
from bdm_cli.html.markup import Html, join, tag


def decoded(element: Html) -> Image.Image:
    found = re.search(r"base64,([^\"]+)", element)
    assert found is not None
    return Image.open(io.BytesIO(base64.b64decode(found.group(1))))


def test_text_is_escaped_and_markup_is_not() -> None:
    made = tag("p", "a < b", tag("b", 1), None, [" &", tag("br")], class_="x", title='"', hidden=True, lang=None)
    assert made == '<p class="x" title="&quot;" hidden>a &lt; b<b>1</b> &amp;<br></p>'
    assert join("\ud800", "\x00") == "?\ufffd"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.97654, "0.977"),
        (12.345, "12.35"),
        (-0.5, "−0.500"),
        (0.00041, "4.1×10⁻⁴"),
        (3e9, "3.0×10⁹"),
        (7, "7"),
        (0.0, "0"),
        (math.nan, "–"),
        (None, "–"),
        (True, "–"),
    ],
)
def test_number(value: object, text: str) -> None:
    assert numbers.number(value) == text


def test_p_values() -> None:
    assert numbers.p_value(0.0004).split() == ["p", "<", "0.001"]
    assert numbers.p_value(0.05).split() == ["p", "=", "0.050"]


@pytest.mark.parametrize(
    ("column", "places"), [((400.0, 43440.0), 0), ((0.0, 400.0), 0), ((400.5, 2.0), 1), ((5.0, 2.0), 3)]
)
def test_a_column_of_counts_has_no_decimals(column: tuple[float, ...], places: int) -> None:
    assert numbers.decimals(column) == places


def test_grid_holds_every_pixel(tmp_path: Path) -> None:
    paths = []
    for index in range(10):
        paths.append(tmp_path / f"{index}.png")
        Image.frombytes("L", (2, 2), bytes([index, 50, 100, 150])).save(paths[-1])
    made = pictures.grid(paths, "ten", columns=4, cell=48)
    assert made is not None
    sheet = decoded(made)
    step = 24 + pictures.GAP
    assert sheet.size == (4 * step - pictures.GAP, 3 * step - pictures.GAP)
    for index in range(10):
        left, top = index % 4 * step, index // 4 * step
        corners = [sheet.getpixel((left + x, top + y)) for y in (0, 23) for x in (0, 23)]
        assert corners == [index, 50, 100, 150]
    assert sheet.getpixel((24, 0)) == pictures.GREY
    assert f'width="{2 * sheet.width}"' in made


def test_grid_of_large_pictures_is_reduced(tmp_path: Path) -> None:
    Image.new("RGB", (256, 256), (10, 20, 30)).save(tmp_path / "a.png")
    made = pictures.grid([tmp_path / "a.png"] * 2, "large", cell=48)
    assert made is not None
    assert decoded(made).size == (2 * 96 + pictures.GAP, 96)
    assert decoded(made).getpixel((5, 5)) == (10, 20, 30)


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"GIF89a")
    assert pictures.grid([tmp_path / "a.png", tmp_path / "missing.png"], "none") is None
    assert pictures.single(tmp_path / "a.png", "none") is None


def test_a_large_picture_is_reduced_and_a_small_one_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (640, 320), (10, 20, 30)).save(tmp_path / "a.png")
    Image.new("L", (8, 8), 7).save(tmp_path / "b.png")
    large, small = pictures.single(tmp_path / "a.png", "large"), pictures.single(tmp_path / "b.png", "small")
    assert large is not None and small is not None
    assert decoded(large).size == (192, 96)
    assert decoded(small).size == (8, 8) and 'width="96"' in small


def test_labels_stand_below_their_pictures(tmp_path: Path) -> None:
    for index in range(3):
        Image.new("L", (4, 4), index).save(tmp_path / f"{index}.png")
    made = pictures.labelled([tmp_path / f"{index}.png" for index in range(3)], ["a <cat>", "b"], "three")
    assert made is not None
    cells = made.split("<li>")[1:]
    assert [decoded(Html(cell)).getpixel((0, 0)) for cell in cells] == [0, 1, 2]
    assert [re.findall("<span>(.*?)</span>", cell) for cell in cells] == [["a &lt;cat&gt;"], ["b"], [""]]


def tensor(values: tuple[float, ...], *shape: int) -> arrays.Tensor:
    return arrays.Tensor("x", shape, values)


def test_signed_tensor_is_grey_at_zero() -> None:
    made = arrays.signed(tensor((-2.0, 0.0, 2.0), 1, 1, 3), "signed", 2.0)
    assert made is not None
    assert list(decoded(made).tobytes()) == [0, 128, 255]
    colour = arrays.signed(tensor((1.0, -1.0, 0.0, 0.0, -1.0, 1.0), 3, 1, 2), "signed", 1.0)
    assert colour is not None
    assert list(decoded(colour).tobytes()) == [255, 128, 0, 0, 128, 255]
    assert arrays.signed(tensor((1.0,) * 4, 4), "no picture", 1.0) is None


def test_arrays_share_one_scale_and_a_broken_one_is_named() -> None:
    parts = [tensor((1.0,), 1, 1, 1), tensor((-4.0,), 1, 1, 1), arrays.Tensor("short", (1, 2, 2), (1.0,))]
    made = arrays.draw(parts, "both")
    pixels = [decoded(Html(part)).getpixel((0, 0)) for part in made.split("<figure>")[1:]]
    assert pixels == [round(127.5 + 127.5 / 4), 0]
    assert "Black is −4.000, mid-grey 0, white 4.000." in made and "do not fit: short." in made


def test_cosine_and_norms() -> None:
    first, second = tensor((1.0, 0.0), 2), tensor((3.0, 3.0), 2)
    assert second.norm == pytest.approx(math.sqrt(18))
    assert arrays.cosine(first, second) == pytest.approx(math.sqrt(0.5))
    assert arrays.cosine(first, tensor((1.0, 0.0), 1, 2)) is None
    assert arrays.cosine(first, tensor((0.0, 0.0), 2)) is None
    (sentence,) = arrays.comparison(first, [second])
    assert "<b>0.707</b>, norm ratio 4.243." in sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 2, 3], "1, 2, 3"),
        ([], "empty"),
        ([0.5] * 3 + [2.0] * 9, "12 values from 0.500 to 2.000"),
        ([[1, 2], [3, 4], [5, 9]], "3 × 2 values from 1 to 9"),
        ([[1, 2], [3]], "3 values from 1 to 3"),
        (["a"] * 9, "a, a, a, a, a, a, … (9 in all)"),
        (True, "yes"),
        (None, "–"),
        ("x" * 700, "x" * 600 + "…"),
        ({"a": 1}, None),
        ([{"a": 1}], None),
    ],
)
def test_json_in_one_line(value: Any, text: str | None) -> None:
    assert features.summary(value) == text


def test_nested_json_folds_and_is_escaped() -> None:
    made = features.tree({"<b>": "<i>", "best": {"starts": [{"score": 1.5}], "long": list(range(99))}})
    assert made is not None and "<b>" not in made and "<i>" not in made
    assert made.count("<details>") == 3 and " open" not in made
    assert "list of 1" in made and "99 values from 0 to 98<" in made and "1.500" in made


def test_json_that_is_deep_or_wide_is_cut() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"inner": deep}
    made = features.tree({"deep": deep, **{str(index): index for index in range(500)}})
    assert made is not None and made.count("<details>") == features.DEPTH
    assert made.count('class="leaf"') == features.ENTRIES and "and 441 more" in made


def places(svg: str, name: str) -> list[tuple[float, float]]:
    found = re.search(rf'points="([^"]*)" class="{name}"', svg)
    assert found is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found.group(1).split())]


def test_a_logarithmic_curve_of_an_exponential_is_a_straight_line() -> None:
    svg = charts.curve([math.exp(-step / 10) for step in range(101)], "decay")
    assert svg is not None and "logarithmic scale" in svg
    raw = places(svg, "raw")
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(raw[:-10:10], raw[10::10], strict=True)]
    assert max(slopes) - min(slopes) < 0.02
    assert slopes[0] > 0, "downwards on the page"


def test_a_flat_curve_is_drawn_and_its_average_is_itself() -> None:
    svg = charts.curve([2.0] * 50, "flat")
    assert svg is not None and "logarithmic" not in svg
    assert {y for _, y in places(svg, "raw")} == {y for _, y in places(svg, "smooth")}
    assert charts.curve([1.0], "a point") is None
    short = charts.curve([3.0, 1.0, 2.0], "short", axis="round")
    assert short is not None and len(places(short, "smooth")) == 3 and "3 rounds" in short
    assert charts.curve([None, None, 1.0], "a point") is None


def test_thinning_out_keeps_a_spike() -> None:
    values: list[float | None] = [1.0 + 0.001 * (step % 7) for step in range(20_000)]
    values[12_345] = 9.0
    svg = charts.curve(values, "spike")
    assert svg is not None
    raw = places(svg, "raw")
    assert len(raw) <= charts.POINTS + 2
    assert min(y for _, y in raw) < 30 < sorted(y for _, y in raw)[1]


def test_the_score_lies_on_its_side_of_the_threshold() -> None:
    for score, threshold in [(4.3, 1.2), (0.2, 1.2), (-5.0, -9.0), (1e6, 3.0), (0.5, 0.5), (0.0, 0.0)]:
        svg = charts.scale([score], threshold)
        mark = float(re.findall(r'cx="([\d.]+)"', svg)[0])
        limit = float(re.findall(r'x1="([\d.]+)"[^>]*class="limit"', svg)[0])
        assert (mark > limit) == (score > threshold)
        assert 0 < mark < 420 and 0 < limit < 420


def test_error_bars_share_the_range_of_their_column() -> None:
    middle = charts.error_bar(0.5, 0.1, 0.0, 1.0, width=108)
    assert 'cx="54"' in middle and 'x1="44" x2="64"' in middle
    assert 'cx="104"' in charts.error_bar(1.0, None, 0.0, 1.0, width=108)
    assert "whisker" not in charts.error_bar(1.0, None, 0.0, 1.0)


class Stages:
    """As much of the material as tables of stages need."""

    def __init__(self, *figures: Any) -> None:
        self.run = self
        self.stages = [{"label": "score backdoored", "figures": item} for item in figures]


def test_tables_of_stages_are_drawn_and_what_is_none_is_left_out() -> None:
    rows = [["<cat>", 7, 0.5, None], ["too", "short"], "no row", *[[f"class {n}", n, 1.0, 0.25] for n in range(20)]]
    good = {"tables": {"by class": {"head": ["class", "n", "ACC", "ASR"], "rows": rows}}}
    others = [{"tables": [1]}, {"tables": {"a": 1, "b": {"head": [], "rows": [[]]}}}, {"tables": None}, None]
    page = str(kept.section(Stages(good, *others)))  # type: ignore[arg-type]
    assert '<div class="captioned">' in page, "its title is seen: the style sheet shows captions of this class"
    assert ".captioned caption { position: static;" in (Path(kept.__file__).with_name("style.css")).read_text()
    assert "score backdoored, by class" in page and "&lt;cat&gt;" in page and "<td>0.500</td>" in page
    assert page.count("<tr>") == 1 + kept.MOST_ROWS and "9 further rows are in stages.json." in page
    assert "too" not in page and kept.section(Stages(*others)) is None  # type: ignore[arg-type]


def test_pictures_of_stages_are_drawn_anew_and_what_is_none_is_left_out() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (90, 60), (10, 200, 30)).save(stream, format="PNG")
    png = base64.b64encode(stream.getvalue()).decode()
    script = base64.b64encode(b"<script>alert(1)</script>").decode()
    files = [{"label": "<one>", "png": png}, {"label": "two", "png": script}, {"png": "not base64!"}, {"png": 7}, None]
    good = {"pictures": {"Grad-CAM": {"caption": "Red & hot.", "files": files}}}
    bad = [{"pictures": 3}, {"pictures": {"a": {"files": "x"}, "b": [], "c": {"files": [{"png": script}]}}}, None]
    page = kept_pictures.section(Stages(good, *bad))  # type: ignore[arg-type]
    assert page is not None and page.count("<img") == 1 and page.count("<h3") == 1
    assert "&lt;one&gt;" in page and "two" not in page and "Red &amp; hot." in page
    assert decoded(page).getpixel((0, 0)) == (10, 200, 30)
    assert kept_pictures.section(Stages(*bad)) is None  # type: ignore[arg-type]


def test_no_more_pictures_of_stages_than_a_page_bears() -> None:
    stream = io.BytesIO()
    Image.new("L", (2, 2)).save(stream, format="PNG")
    one = {"png": base64.b64encode(stream.getvalue()).decode()}
    many = {"pictures": {str(n): {"files": [one] * 20} for n in range(kept_pictures.MOST_FIGURES + 5)}}
    page = kept_pictures.section(Stages(many))  # type: ignore[arg-type]
    assert page is not None
    assert page.count("<img") == kept_pictures.MOST_FIGURES * kept_pictures.MOST_PICTURES
