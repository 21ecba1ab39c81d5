"""Small folders in the form of published data sets, and damaged ones."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.data.image_data import count_classes
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import open_samples

HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"


def opened(folder, tmp_path, classes, shape=(3, 32, 32)):
    """The three parts of a folder, read for a model of so many classes."""
    like = tmp_path / f"like-{len(list(tmp_path.iterdir()))}"
    like.mkdir()
    (like / "note.txt").write_text("a manifest is enough")
    names = [str(number) for number in range(classes)]
    model = Model.seal(like, format="classifier", task=IMAGE_TASK, meta={"shape": list(shape), "classes": names})
    data = open_reference(str(folder), model, like / "data", tmp_path)
    return [open_samples(data, part) for part in ("samples", "reserve", "test")]


def write_cifar(folder, classes, train, test, names_file, rows=4):
    """Records whose first two pixels are the label and a number of their own; returns the folder."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number, name in enumerate([*train, test]):
        labels = np.arange(classes).repeat(rows)
        pictures = generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        pictures[:, 0], pictures[:, 1] = labels, number
        coarse = [np.full((len(labels), 1), 7, dtype=np.uint8)] if classes == 100 else []
        np.concatenate([*coarse, labels[:, None].astype(np.uint8), pictures], axis=1).tofile(folder / name)
    (folder / names_file).write_text("".join(f"name{label}\n" for label in range(classes)) + "\n")
    return folder


def cifar10(folder):
    return write_cifar(folder, 10, [f"data_batch_{n}.bin" for n in range(1, 6)], "test_batch.bin", "batches.meta.txt")


def cifar100(folder):
    return write_cifar(folder, 100, ["train.bin"], "test.bin", "fine_label_names.txt")


@pytest.mark.parametrize(("write", "classes", "batches"), [(cifar10, 10, 5), (cifar100, 100, 1)])
def test_cifar(write, classes, batches, tmp_path):
    folder = write(tmp_path / "cifar")
    parts = opened(folder, tmp_path, classes)
    kept = max(1, round(0.4 * batches))
    assert [len(part) for part in parts] == [classes * (4 * batches - kept), classes * kept, classes * 4]
    assert parts[0].classes == [f"name{label}" for label in range(classes)] and count_classes(folder) == classes
    for part in parts:
        assert torch.equal(part.stored[:, 0, 0, 0].long(), part.labels)
    assert set(parts[2].stored[:, 0, 0, 1].tolist()) == {batches}
    assert batches not in parts[0].stored[:, 0, 0, 1].tolist()


def test_cifar_as_its_archive_unpacks_and_at_another_size(tmp_path):
    cifar10(tmp_path / "data" / "cifar-10-batches-bin")
    training = opened(tmp_path / "data", tmp_path, 10, (1, 16, 16))[0]
    assert tuple(training.stored.shape[1:]) == (1, 16, 16)


def test_damaged_cifar_is_one_line(tmp_path):
    folder = cifar10(tmp_path / "cifar")
    with pytest.raises(UserError, match="has 10 classes, the model 3"):
        opened(folder, tmp_path, 3)
    content = (folder / "data_batch_2.bin").read_bytes()
    for damaged, match in (
        (content[:-1], r"122919 bytes: expected a multiple of 3073"),
        (b"", "has 0 bytes"),
        (b"\x0a" + content[1:], "has the label 10, and there are 10 classes"),
    ):
        (folder / "data_batch_2.bin").write_bytes(damaged)
        with pytest.raises(UserError, match=match):
            opened(folder, tmp_path, 10)
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(UserError, match=r"data_batch_2.bin cannot be read"):
        opened(folder, tmp_path, 10)
    (folder / "batches.meta.txt").write_text("one\n")
    with pytest.raises(UserError, match="1 names of classes: expected 10"):
        opened(folder, tmp_path, 10)


def draw(path, label, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 36), (label * 50, number, 9)).save(path)


def gtsrb(folder, training="Train", test="Test", suffix="ppm", classes=3, rows=4):
    for label in range(classes):
        place, lines = folder / training / f"{label:05d}", [HEAD]
        for row in range(rows):
            draw(place / f"00000_{row:05d}.{suffix}", label, row)
            lines.append(f"00000_{row:05d}.{suffix};40;36;5;5;30;30;{label}\n")
        (place / f"GT-{label:05d}.csv").write_text("".join(lines))
    lines = [HEAD]
    for row in range(classes * 2):
        draw(folder / test / f"{row:05d}.{suffix}", row % classes, 200 + row)
        lines.append(f"{row:05d}.{suffix};40;36;5;5;30;30;{row % classes}\n")
    (folder / test / "GT-final_test.csv").write_text("".join(lines))
    return folder


def with_tables(folder, classes=3, rows=4):
    head = "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path\n"
    lines = {"Train": [head], "Test": [head]}
    for label in range(classes):
        for row in range(rows):
            draw(folder / f"Train/{label}/{label:05d}_{row:05d}.png", label, row)
            lines["Train"].append(f"40,36,5,5,30,30,{label},Train/{label}/{label:05d}_{row:05d}.png\n")
        draw(folder / f"Test/{label:05d}.png", label, 200 + label)
        lines["Test"].append(f"40,36,5,5,30,30,{label},Test/{label:05d}.png\n")
    for name, text in lines.items():
        (folder / f"{name}.csv").write_text("".join(text))
    return folder


def tiny_imagenet(folder, classes=3, rows=4):
    wnids = [f"n0{label}00000" for label in range(classes)]
    (folder / "val").mkdir(parents=True)
    (folder / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in reversed(wnids)))
    words = ["crane, bird", "crane, machine", "Egyptian cat"]
    (folder / "words.txt").write_text("".join(f"{w}\t{text}\n" for w, text in zip(wnids, words, strict=True)))
    lines = []
    for label, wnid in enumerate(wnids):
        for row in range(rows):
            draw(folder / f"train/{wnid}/images/{wnid}_{row}.png", label, row)
        draw(folder / f"val/images/val_{label}.png", label, 200 + label)
        lines.append(f"val_{label}.png\t{wnid}\t0\t0\t62\t62\n")
        (folder / f"train/{wnid}/{wnid}_boxes.txt").write_text("ignored\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    draw(folder / "test/images/test_0.png", 0, 0)
    return folder


@pytest.mark.parametrize(
    "write",
    [
        gtsrb,
        lambda folder: gtsrb(folder, suffix="png"),
        lambda folder: gtsrb(folder, "GTSRB/Final_Training/Images", "GTSRB/Final_Test/Images"),
        with_tables,
        tiny_imagenet,
    ],
)
def test_listed_pictures(write, tmp_path):
    folder = write(tmp_path / "data")
    training, reserve, test = opened(folder, tmp_path, 3)
    assert (len(training), len(reserve)) == (9, 3) and len(test) in (3, 6) and count_classes(folder) == 3
    for part in (training, reserve, test):
        assert torch.equal(part.stored[:, 0, 0, 0].long(), part.labels * 50)
    assert bool((test.stored[:, 1, 0, 0] >= 200).all()) and bool((training.stored[:, 1, 0, 0] < 200).all())


def test_names_of_tiny_imagenet_are_unique_words(tmp_path):
    training = opened(tiny_imagenet(tmp_path / "data"), tmp_path, 3)[0]
    assert training.classes == ["n0000000", "n0100000", "Egyptian cat"]


TEST_CSV = "Width,Height,ClassId,Path\n"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (TEST_CSV + "40,36,0,/etc/passwd\n", "outside of"),
        (TEST_CSV + "40,36,0,../../secret.png\n", "outside of"),
        (TEST_CSV + "40,36,0,Test/..\\..\\secret.png\n", "outside of"),
        (TEST_CSV + "40,36,0,Test/none.png\n", "no such file"),
        (TEST_CSV + f"40,36,0,{'a' * 5000}\n", "no such file"),
        (TEST_CSV + "40,36,0,Train/0/00000_00000.png\n", "twice"),
        (TEST_CSV + "40,36,-1,Test/00000.png\n", "expected a number from 0"),
        (TEST_CSV + "40,36,9,Test/00000.png\n", "test pictures of class 9"),
        (TEST_CSV + "40\n", "no table with the columns"),
        ("", "no table with the columns"),
        (TEST_CSV, "lists no test pictures"),
        (TEST_CSV + '"' + "a" * 200_000 + '"\n', "no table with the columns"),
    ],
)
def test_a_damaged_table_is_one_line(text, match, tmp_path):
    folder = with_tables(tmp_path / "data")
    (folder / "Test.csv").write_text(text)
    with pytest.raises(UserError, match=match) as caught:
        opened(folder, tmp_path, 3)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_tables_that_do_not_match_their_folder_are_one_line(tmp_path):
    folder = gtsrb(tmp_path / "gtsrb")
    draw(folder / "Train/00001/extra.ppm", 1, 9)
    with pytest.raises(UserError, match=r"lists 4 pictures, .* holds 5"):
        opened(folder, tmp_path, 3)
    (folder / "Train/00001/extra.ppm").unlink()
    (folder / "Test/GT-final_test.csv").rename(folder / "Test/GT-final_test.test.csv")
    with pytest.raises(UserError, match="nobody knows the labels"):
        opened(folder, tmp_path, 3)
    folder = tiny_imagenet(tmp_path / "tiny")
    (folder / "val/val_annotations.txt").write_text("../../x.png\tn0000000\t0\t0\t1\t1\n")
    with pytest.raises(UserError, match="outside of"):
        opened(folder, tmp_path, 3)
    (folder / "val/val_annotations.txt").write_text("val_0.png\tn7777777\n")
    with pytest.raises(UserError, match="a listed wnid"):
        opened(folder, tmp_path, 3)
    (folder / "wnids.txt").write_text("n0000000\nn0100000\n")
    with pytest.raises(UserError, match=r"lists 2 classes, .* holds 3; they differ in 'n0200000'"):
        opened(folder, tmp_path, 3)
    (folder / "wnids.txt").write_text("../n0\nn0100000\n")
    with pytest.raises(UserError, match="expected a wnid"):
        opened(folder, tmp_path, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "content",
    [b"P6 10000 9000 255\n", b"P6 99999 99999 255\n", b"P6 40 36 255\nshort", random.Random(0).randbytes(99)],
)
def test_a_hostile_picture_is_one_line(content, tmp_path):
    folder = gtsrb(tmp_path / "gtsrb")
    (folder / "Train/00000/00000_00000.ppm").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read the image .*00000_00000.ppm") as caught:
        opened(folder, tmp_path, 3)
    assert "\n" not in str(caught.value)


def celeba(folder, ending="txt", place="."):
    """Three pictures of each of the eight classes for training, one for validation and one for the test."""
    home = folder / place
    names = ["5_o_Clock_Shadow", "Heavy_Makeup", "Mouth_Slightly_Open", "Smiling", "Young"]
    rows, parts = [], []
    for label in range(8):
        bits = [1, label >> 2 & 1, label >> 1 & 1, label & 1, 0]
        for number, part in enumerate((0, 0, 0, 1, 2)):
            name = f"{label}{number:05d}.jpg"
            draw(home / "img_align_celeba" / name, 0, 30 * label + 5 * number + 3)
            rows.append([name, *(str(2 * bit - 1) for bit in bits)])
            parts.append([name, str(part)])
    comma = "," if ending == "csv" else "  "
    heads = (["image_id", *names], ["image_id", "partition"])
    for table, lines, head in (("list_attr_celeba", rows, heads[0]), ("list_eval_partition", parts, heads[1])):
        text = "".join(comma.join(line) + "\n" for line in lines)
        if ending == "csv":
            text = ",".join(head) + "\n" + text
        elif table == "list_attr_celeba":
            text = f"{len(lines)}\n{' '.join(names)} \n{text}"
        (home / f"{table}.{ending}").write_text(text)
    return folder


@pytest.mark.parametrize(("ending", "place"), [("txt", "."), ("csv", "."), ("txt", "celeba")])
def test_celeba_has_eight_classes_of_three_attributes(ending, place, tmp_path):
    folder = celeba(tmp_path / "faces", ending, place)
    parts = opened(folder, tmp_path, 8, (3, 16, 16))
    assert [len(part) for part in parts] == [16, 8, 8] and count_classes(folder) == 8
    assert parts[0].classes[0] == "no makeup, mouth closed, serious"
    assert parts[0].classes[3] == "no makeup, mouth open, smiling"
    for part in parts:
        green = part.stored[:, 1].float().mean(dim=(1, 2)) / 30
        assert torch.equal(green.floor().long(), part.labels), "the label has the bits of the three attributes"
    numbers = (parts[2].stored[:, 1].float().mean(dim=(1, 2)) % 30 / 5).floor()
    assert set(numbers.tolist()) == {4}, "the test part is partition 2"


@pytest.mark.parametrize(
    ("table", "old", "new", "match"),
    [
        ("list_attr_celeba.txt", "Smiling", "Smirking", "no column Smiling in line 2"),
        ("list_attr_celeba.txt", "40", "202599", "says that it lists 202599 pictures, and lists 40: it is cut off"),
        ("list_attr_celeba.txt", "000000.jpg  1", "000000.jpg  x", "expected a picture and 5 marks"),
        ("list_attr_celeba.txt", "000001.jpg", "000000.jpg", "lists 000000.jpg twice"),
        ("list_eval_partition.txt", "000001.jpg", "../001.jpg", "and .*list_attr_celeba.txt does not"),
        ("list_eval_partition.txt", "000001.jpg  0", "000001.jpg  7", "expected a picture and 0, 1 or 2"),
        ("list_eval_partition.txt", "000001.jpg", "000000.jpg", "twice"),
    ],
)
def test_damaged_celeba_is_one_line(table, old, new, match, tmp_path):
    folder = celeba(tmp_path / "faces")
    text = (folder / table).read_text()
    assert old in text
    (folder / table).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=match):
        opened(folder, tmp_path, 8, (3, 16, 16))


def test_celeba_without_its_partition_or_pictures(tmp_path):
    folder = celeba(tmp_path / "faces")
    (folder / "img_align_celeba" / "700004.jpg").unlink()
    with pytest.raises(UserError, match=r"names '700004.jpg', and there is no such file"):
        opened(folder, tmp_path, 8, (3, 16, 16))
    (folder / "list_eval_partition.txt").unlink()
    with pytest.raises(UserError, match=r"no list_eval_partition.txt or .csv"):
        opened(folder, tmp_path, 8, (3, 16, 16))
