"""Parts of the report against independent answers: pixels, geometry, number formats, tensors."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import struct
from pathlib import Path

import pytest
from PIL import Image

from bdm_cli.html import charts, images, numbers, tensors
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


def test_grid_holds_every_pixel(tmp_path: Path) -> None:
    paths = []
    for index in range(10):
        paths.append(tmp_path / f"{index}.png")
        Image.frombytes("L", (2, 2), bytes([index, 50, 100, 150])).save(paths[-1])
    made = images.grid(paths, "ten", columns=4, cell=48)
    assert made is not None
    sheet = decoded(made)
    step = 24 + images.GAP
    assert sheet.size == (4 * step - images.GAP, 3 * step - images.GAP)
    for index in range(10):
        left, top = index % 4 * step, index // 4 * step
        corners = [sheet.getpixel((left + x, top + y)) for y in (0, 23) for x in (0, 23)]
        assert corners == [index, 50, 100, 150]
    assert sheet.getpixel((24, 0)) == images.GREY
    assert f'width="{2 * sheet.width}"' in made


def test_grid_of_large_pictures_is_reduced(tmp_path: Path) -> None:
    Image.new("RGB", (256, 256), (10, 20, 30)).save(tmp_path / "a.png")
    made = images.grid([tmp_path / "a.png"] * 2, "large", cell=48)
    assert made is not None
    assert decoded(made).size == (2 * 96 + images.GAP, 96)
    assert decoded(made).getpixel((5, 5)) == (10, 20, 30)


def test_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"GIF89a")
    assert images.grid([tmp_path / "a.png", tmp_path / "missing.png"], "none") is None
    assert images.single(tmp_path / "a.png", "none") is None


def test_signed_tensor_is_grey_at_zero() -> None:
    made = images.signed(tensors.Tensor((1, 1, 3), (-2.0, 0.0, 2.0)), "signed", 2.0)
    assert made is not None
    assert list(decoded(made).tobytes()) == [0, 128, 255]
    colour = images.signed(tensors.Tensor((3, 1, 2), (1.0, -1.0, 0.0, 0.0, -1.0, 1.0)), "signed", 1.0)
    assert colour is not None
    assert list(decoded(colour).tobytes()) == [255, 128, 0, 0, 128, 255]
    assert images.signed(tensors.Tensor((4,), (1.0,) * 4), "no picture", 1.0) is None


def stored(path: Path, dtype: str, code: str, values: list[float], cut: int = 0) -> Path:
    raw = struct.pack(f"<{len(values)}{code}", *values)
    header = {"other": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    header["trigger"] = {"dtype": dtype, "shape": [1, 1, len(values)], "data_offsets": [4, 4 + len(raw)]}
    text = json.dumps(header).encode()
    whole = struct.pack("<Q", len(text)) + text + struct.pack("<f", 9.0) + raw
    path.write_bytes(whole[: len(whole) - cut])
    return path


@pytest.mark.parametrize(("dtype", "code"), [("F32", "f"), ("F16", "e"), ("F64", "d")])
def test_tensors_are_read(tmp_path: Path, dtype: str, code: str) -> None:
    found = tensors.read(stored(tmp_path / "t", dtype, code, [3.0, -4.0]), "trigger")
    assert found == tensors.Tensor((1, 1, 2), (3.0, -4.0))
    assert found.norm == 5.0


def test_tensors_as_the_library_writes_them(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy")
    array = numpy.linspace(-1, 1, 24, dtype="float32").reshape(2, 3, 4)
    library.save_file({"trigger": array, "a": array[0]}, tmp_path / "t")
    assert tensors.read(tmp_path / "t", "trigger") == tensors.Tensor((2, 3, 4), tuple(array.ravel().tolist()))


def test_damaged_tensors_are_none(tmp_path: Path) -> None:
    assert tensors.read(stored(tmp_path / "a", "F32", "f", [1.0, 2.0], cut=1), "trigger") is None
    assert tensors.read(stored(tmp_path / "b", "BF16", "e", [1.0]), "trigger") is None
    assert tensors.read(stored(tmp_path / "c", "F32", "f", [math.nan]), "trigger") is None
    assert tensors.read(stored(tmp_path / "d", "F32", "f", [1.0]), "absent") is None
    assert tensors.read(tmp_path / "missing", "trigger") is None


def test_cosine() -> None:
    first, second = tensors.Tensor((2,), (1.0, 0.0)), tensors.Tensor((2,), (1.0, 1.0))
    assert tensors.cosine(first, second) == pytest.approx(math.sqrt(0.5))
    assert tensors.cosine(first, tensors.Tensor((1, 2), (1.0, 0.0))) is None
    assert tensors.cosine(first, tensors.Tensor((2,), (0.0, 0.0))) is None


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
