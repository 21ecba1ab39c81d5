"""What the report shows of classifiers: names of classes that can be read, and the place of a change in a long text."""

import numpy as np
import pytest
from PIL import Image

from bdm_kit_classification.matrix_picture import CELL, draw_matrix
from bdm_kit_classification.text_illustration import AROUND, spans


@pytest.mark.parametrize(
    ("names", "fits"),
    [(["0", "1"], True), (["negative", "positive"], False), (["no makeup, mouth closed, serious", "x\x00\n"], False)],
)
def test_names_have_room_beside_the_cells(names, fits, tmp_path):
    file = draw_matrix(tmp_path / "matrix.png", np.array([[30, 0], [0, 40]]), names)
    pixels = np.asarray(Image.open(file)).astype(int)
    height, width = pixels.shape[:2]
    top, left = height - 2 * CELL, width - 2 * CELL
    assert (top, left) == (CELL, CELL) if fits else top == left > CELL
    ink = pixels.sum(2) < 3 * 255
    assert not ink[:, 0].any() and not ink[0].any() and not ink[:, left - 3 : left].any(), "no name is cut off"
    for number in range(2):  # each row's name is beside its row, each column's above its column
        assert ink[top + number * CELL : top + (number + 1) * CELL, :left].any()
        assert ink[:top, left + number * CELL : left + (number + 1) * CELL].any()
    blue = pixels[top + CELL // 8, left + CELL // 8]
    assert blue.tolist() == [30, 90, 160], "all of the first class are right"


def test_a_change_late_in_a_long_text_is_shown():
    words = [f"w{place}" for place in range(900)]
    found = spans(" ".join(words), " ".join([*words[:500], "cf", *words[500:]]))
    assert [span.mark for span in found] == ["", "trigger", ""] and found[1].text == "cf "
    assert found[0].text.split() == ["...", *words[500 - AROUND : 500]]
    assert found[2].text.split() == [*words[500 : 500 + AROUND], "..."]
    same = spans(" ".join(words), " ".join(words))
    assert len(same) == 1 and same[0].text.startswith("w0 w1 ") and same[0].text.endswith(" ...")
