"""Image sets, noise, foreign images: what goes in comes out, and bad input gets one line."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.data import opening as data
from bdm_kit_diffusion.data.built_in_data import load_digits
from bdm_kit_diffusion.noise.initial_noise import load_noise, seal_noise
from bdm_torch import images
from bdm_torch.image_sets import load_images, load_rows, seal_images
from bdm_torch.images import from_bytes, read_folder, read_image, to_bytes
from bdm_torch.references import parse_hub_reference

LEVELS = from_bytes(torch.arange(256, dtype=torch.uint8).reshape(4, 1, 8, 8))


def model(tmp_path: Path, *shape: int) -> Model:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return Model.seal(
        tmp_path / "model", format="diffusers", task="unconditional-image-generation", meta={"shape": list(shape)}
    )


@pytest.mark.parametrize("layout", ["png", "uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_level_survives(tmp_path: Path, layout: Any, channels: int) -> None:
    several = LEVELS.expand(4, channels, 8, 8)
    sealed = seal_images(tmp_path, several, Data, task=TASK, layout=layout, rows=[{"label": i} for i in range(4)])
    opened = Data.open(tmp_path)
    assert torch.equal(load_images(opened), several)
    assert [row["label"] for row in load_rows(sealed)] == [0, 1, 2, 3]
    assert (opened.meta["count"], opened.meta["shape"]) == (4, [channels, 8, 8])


def test_further_sets_and_float_values_survive(tmp_path: Path) -> None:
    values = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    sealed = seal_images(tmp_path, {"images": LEVELS, "triggers": values}, Data, task=TASK, layout="float32")
    assert torch.equal(load_images(sealed, "triggers"), values)
    with pytest.raises(ArtifactError, match="has no set 'targets'; it has images, triggers"):
        load_images(sealed, "targets")


def test_large_sets_become_one_file(tmp_path: Path) -> None:
    sealed = seal_images(tmp_path, torch.zeros(1025, 1, 2, 2), Outputs, task=TASK)
    assert set(sealed.files) == {"images.safetensors", "rows.jsonl"}


def test_values_are_clamped_and_rounded() -> None:
    values = torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0]).reshape(1, 1, 1, 5)
    assert to_bytes(values).flatten().tolist() == [0, 0, 128, 255, 255]


def test_noise_survives(tmp_path: Path) -> None:
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_noise(seal_noise(tmp_path, noise)), noise)
    with pytest.raises(ArtifactError, match="format 'noise', expected 'images'"):
        load_images(Data.open(tmp_path))


def test_digits_are_what_scikit_learn_ships() -> None:
    from sklearn.datasets import load_digits as bundled

    pictures, labels = load_digits()
    assert pictures.shape == (1797, 1, 8, 8)
    assert (pictures.min().item(), pictures.max().item()) == (-1.0, 1.0)
    np.testing.assert_array_equal(((pictures[:, 0].numpy() + 1) * 8).round(), bundled().images)
    np.testing.assert_array_equal(labels.numpy(), bundled().target)


def gradient(mode: str) -> Image.Image:
    grey = Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1)))
    if mode == "I;16":
        return Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    if mode == "RGBA":
        opaque = grey.convert("RGBA")
        opaque.putalpha(255)
        return opaque
    return grey.convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I;16", "P"])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_modes_give_the_same_picture(tmp_path: Path, mode: str, channels: int) -> None:
    gradient(mode).save(tmp_path / "a.png")
    expected = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (channels, 64, 1))
    found = read_image(tmp_path / "a.png", (channels, 64, 64)).astype(int)
    assert np.abs(found - expected).max() <= (1 if mode in ("P", "RGB", "RGBA") else 0)


def test_bilevel_transparent_and_cmyk(tmp_path: Path) -> None:
    Image.new("1", (8, 8), 1).save(tmp_path / "bilevel.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "press.jpg")
    assert read_folder(tmp_path, (3, 8, 8)).min().item() >= 254


def test_wide_pictures_are_cropped_centrally() -> None:
    wide = np.zeros((8, 24), dtype=np.uint8)
    wide[:, 8:16] = 200
    content = io.BytesIO()
    Image.fromarray(wide).save(content, "PNG")
    assert (read_image(content.getvalue(), (1, 8, 8)) == 200).all()
    inner = read_image(content.getvalue(), (1, 4, 4))[:, :, 1:3]
    assert np.abs(inner.astype(int) - 200).max() <= 5


def test_folder_is_read_by_name_with_subfolders(tmp_path: Path) -> None:
    for index, name in enumerate(["b/2.png", "a/9.PNG", "c.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 50 * index).save(tmp_path / name, "PNG")
    (tmp_path / "notes.txt").write_text("no image")
    assert read_folder(tmp_path, (1, 4, 4))[:, 0, 0, 0].tolist() == [50, 0, 100]
    assert len(read_folder(tmp_path, (1, 4, 4), limit=2)) == 2


def breakages() -> dict[str, bytes]:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(content, "PNG")
    whole = content.getvalue()
    bitmap = io.BytesIO()
    Image.new("L", (4, 4)).save(bitmap, "PPM")
    return {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not an image at all",
        "flipped": whole[:60] + bytes([whole[60] ^ 255]) + whole[61:],
        "another format": bitmap.getvalue(),
    }


@pytest.mark.parametrize("name", sorted(breakages()))
def test_broken_image_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(breakages()[name])
    with pytest.raises(UserError) as caught:
        read_folder(tmp_path, (1, 8, 8))
    assert str(caught.value).startswith(f"cannot read the image {tmp_path / 'b.png'}: ")
    assert "\n" not in str(caught.value)


def test_oversized_image_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (9000, 8000)).save(tmp_path / "bomb.png")
    with pytest.raises(UserError, match="9000x8000 pixels are more than 64 megapixels"):
        read_image(tmp_path / "bomb.png", (1, 8, 8))
    monkeypatch.setattr(images, "LARGEST_FILE", 100)
    with pytest.raises(UserError, match="MiB is more than the allowed"):
        read_image(tmp_path / "bomb.png", (1, 8, 8))


def parquet(path: Path, rows: list[Any], **more: list[Any]) -> None:
    import pyarrow
    from pyarrow import parquet as tables

    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {"image": pyarrow.array(rows, kind), **{name: pyarrow.array(value) for name, value in more.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    tables.write_table(pyarrow.table(columns), path)


def png(value: int) -> bytes:
    content = io.BytesIO()
    Image.new("L", (4, 4), value).save(content, "PNG")
    return content.getvalue()


def test_hub_layout_of_parquet_files(tmp_path: Path) -> None:
    rows = [{"bytes": png(value), "path": None} for value in (10, 20, 30)]
    parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet", rows, label=[0, 1, 2])
    parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", rows[:1], label=[0])
    found = read_folder(tmp_path / "set", (1, 4, 4), cache=tmp_path / "cache")
    assert found[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_parquet_row_may_not_point_to_a_file(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "private.png")
    parquet(tmp_path / "set" / "a.parquet", [{"bytes": None, "path": str(tmp_path / "private.png")}])
    with pytest.raises(UserError, match=r"row 0 of .* points to a file instead of holding an image"):
        read_folder(tmp_path / "set", (1, 4, 4), cache=tmp_path / "cache")


def test_parquet_without_images_names_its_columns(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet as tables

    (tmp_path / "set").mkdir()
    tables.write_table(pyarrow.table({"age": [1, 2]}), tmp_path / "set" / "a.parquet")
    with pytest.raises(UserError, match="has no image column; its columns are age"):
        read_folder(tmp_path / "set", (1, 4, 4), cache=tmp_path / "cache")


def test_digits_need_a_model_of_their_shape(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name data with --data"):
        data.open_reference(None, model(tmp_path, 3, 32, 32), tmp_path / "data", tmp_path)


def test_folder_becomes_a_data_set_of_the_models_shape(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / "in" / "a.jpg", quality=100)
    sealed = data.open_reference(str(tmp_path / "in"), model(tmp_path, 3, 6, 6), tmp_path / "data", tmp_path)
    pixel = load_images(sealed)[0, :, 3, 3]
    assert load_images(sealed).shape == (1, 3, 6, 6)
    assert pixel.tolist() == pytest.approx([1, -1, -1], abs=0.03)


def test_sealed_set_of_another_shape_is_refused(tmp_path: Path) -> None:
    seal_images(tmp_path / "set", LEVELS, Data, task=TASK)
    with pytest.raises(UserError, match=r"shape \[1, 8, 8\], the model takes \[1, 4, 4\]"):
        data.open_reference(str(tmp_path / "set"), model(tmp_path, 1, 4, 4), tmp_path / "data", tmp_path)


def test_hub_references() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert parse_hub_reference(f"hf:org/name@{commit}") == ("org/name", commit)
    assert parse_hub_reference("folder") is None
    for text in ("hf:org/name", "hf:org/name@main", f"hf:org/name@{commit[:12]}"):
        with pytest.raises(UserError, match="names no commit: write hf:org/name@"):
            parse_hub_reference(text)
    with pytest.raises(UserError, match="is no reference to the Hub"):
        parse_hub_reference("hf:name")


def test_hub_data_are_fetched_by_commit_and_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(repository=repository, **options)
        folder = Path(options["local_dir"])
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(png(255))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    reference = "hf:org/name@" + "a" * 40
    sealed = data.open_reference(reference, model(tmp_path, 1, 4, 4), tmp_path / "data", tmp_path / "cache")
    assert load_images(sealed).unique().tolist() == [1.0]
    assert (asked["repository"], asked["revision"], asked["repo_type"]) == ("org/name", "a" * 40, "dataset")
    assert {"*.png", "*.jpg", "*.jpeg", "*.webp", "*.parquet"} <= set(asked["allow_patterns"])
    assert not [pattern for pattern in asked["allow_patterns"] if pattern.endswith((".py", ".bin", "*"))]


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits as bundled

    expected, (images, labels) = bundled(), load_digits()
    assert torch.equal(((images + 1) * 8).round(), torch.tensor(expected.images, dtype=torch.float32)[:, None])
    assert labels.tolist() == expected.target.tolist()


def test_digits_without_the_file_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_digits()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    images, labels = load_digits()
    assert torch.equal(images, found[0]) and torch.equal(labels, found[1])
