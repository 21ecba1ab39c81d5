"""What a path stands for in a key, how a plugin's code is identified, and numbers that JSON does not have."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
from pathlib import Path

import pytest
from fake_site import FakeSite

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.discovery.origin import distribution_digest, source_digest
from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import content_of, existing, finite, list_files, parameters_by_content
from bdm_core.plugin import Field, Params
from bdm_core.records import Detection, Measurement
from bdm_core.run.keys import core_digest
from bdm_core.run.record import write_json


def test_a_file_counts_by_content_and_a_name_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "target.png"
    path.write_bytes(b"one")
    assert content_of(str(path)) == f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    assert [content_of(text) for text in (None, "builtin", "hf:a/b@c", "x/" * 2000)] == [
        None,
        "builtin",
        "hf:a/b@c",
        "x/" * 2000,
    ]


def test_a_folder_counts_by_all_its_files_also_behind_links(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    for folder in (outside, root):
        folder.mkdir()
    (outside / "a.png").write_bytes(b"1")
    (root / "linked").symlink_to(outside)
    (outside / "again").symlink_to(root)  # a cycle
    before = content_of(str(root))
    (outside / "a.png").write_bytes(b"2")
    changed = content_of(str(root))
    (root / "manifest.json").write_text("{}")
    assert len({before, changed, content_of(str(root))}) == 3


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    plain = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("inner"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UserError, match=r"cannot read .*inner: Permission denied"):
        content_of(str(tmp_path))
    with pytest.raises(ArtifactError, match="inner cannot be read"):
        list_files(tmp_path)


def test_existing_files_in_parameters_count_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("corner", "shape.png"):
        Path(name).write_bytes(b"x")
    params = {"target": "corner", "trigger": "shape.png", "list": ["missing.png", str(tmp_path / "shape.png")], "n": 1}
    digest = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    assert parameters_by_content(params) == {
        "target": "corner",
        "trigger": digest,
        "list": ["missing.png", digest],
        "n": 1,
    }
    prompt = "a photo/drawing of a cat. " * 40
    assert parameters_by_content(prompt) == prompt


def test_folders_in_parameters_count_by_content_but_for_caches(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "weights").write_bytes(b"1")
    params = {"reference": str(base), "cache": str(base), "trigger": "/"}
    first = parameters_by_content(params)
    assert first["reference"].startswith("sha256:") and first["cache"] == str(base) and first["trigger"] == "/"
    (base / "weights").write_bytes(b"2")
    assert parameters_by_content(params)["reference"] != first["reference"]


@pytest.mark.parametrize("text", ["a" * 300 + ".png", "x/" * 3000, "\0.png", "~nobody-of-this-name/x.png", ""])
def test_a_text_that_cannot_be_a_path_names_nothing(text: str) -> None:
    assert existing(text) is None
    assert content_of(text) == text and parameters_by_content([text]) == [text]


def test_a_home_folder_counts_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "one.png").write_bytes(b"x")
    assert content_of("~/one.png") == content_of(str(tmp_path / "one.png")) != "~/one.png"


class _Params(Params):
    rate: float = Field(0.1, description="A rate.")
    rates: tuple[float, ...] = Field((), description="Rates.")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_reach_no_record(tmp_path: Path, number: float) -> None:
    for wrong in ({"rate": number}, {"rates": (0.1, number)}):
        with pytest.raises(ValueError, match="finite"):
            _Params(**wrong)
    for wrong in (
        {"scores": [number], "threshold": 0.0},
        {"scores": [0.0], "threshold": number},
        {"scores": [], "threshold": 0.0},
    ):
        with pytest.raises(ValueError, match=r"finite|at least 1 item"):
            Detection(level="model", **wrong)  # type: ignore[arg-type]
    measured = Measurement(metric="fid", value=number, stderr=number)
    assert (measured.value, measured.stderr) == (None, None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text("{}\n")
    with pytest.raises(ArtifactError, match="cannot seal"):
        Data.seal(tmp_path / "data", format="images", task="toy", meta={"count": 1, "mean": number})
    kept: dict[str, object] = {}
    ctx = Context(tmp_path, tmp_path, 0, on_figures=kept.update)
    ctx.curve("loss", [1.0, number])
    ctx.figures(deep={"list": [number, (2.0,)]})
    assert kept == {"curves": {"loss": [1.0, None]}, "deep": {"list": [None, [2.0]]}}
    write_json(tmp_path / "x.json", {"a": number})
    assert json.loads((tmp_path / "x.json").read_text()) == finite({"a": number}) == {"a": None}


def _editable(site: FakeSite, project: Path, entry: str) -> importlib.metadata.Distribution:
    site.install("bdm-attack-edited", {"bdm.attacks": {"edited": entry}})
    (info,) = site.root.glob("*.dist-info")
    record = {"url": project.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(record))
    return importlib.metadata.PathDistribution(info)


@pytest.mark.parametrize(
    ("module", "entry"),
    [
        ("edited/plugin.py", "edited.plugin:Edited"),
        ("src/edited/plugin.py", "edited.plugin:Edited"),
        ("edited.py", "edited:Edited"),
        ("src/edited.py", "edited:Edited"),
        ("lib/somewhere/edited.py", "edited:Edited"),
    ],
)
def test_editing_an_editable_plugin_changes_its_digest(
    tmp_path: Path, fake_site: FakeSite, module: str, entry: str
) -> None:
    project = tmp_path / "a project + ü"
    path = project / module
    path.parent.mkdir(parents=True)
    path.write_text("one")
    dist = _editable(fake_site, project, entry)
    before = distribution_digest(dist)
    for beside in (".git/index", "build/lib.py", "dist/x.whl"):
        (project / beside).parent.mkdir(exist_ok=True)
        (project / beside).write_text("x")
    assert distribution_digest(dist) == before
    path.write_text("two")
    assert distribution_digest(dist) != before


def test_a_plugin_without_record_is_identified_by_its_sources(fake_site: FakeSite) -> None:
    fake_site.install("bdm-attack-plain", {"bdm.attacks": {"plain": "plain_plugin:Plain"}}, {"plain_plugin": "one = 1"})
    (info,) = fake_site.root.glob("*.dist-info")
    dist = importlib.metadata.PathDistribution(info)
    recorded = distribution_digest(dist)
    (info / "RECORD").unlink()
    before = distribution_digest(dist)
    (fake_site.root / "plain_plugin.py").write_text("two = 2")
    assert len({recorded, before, distribution_digest(dist)}) == 3
    (fake_site.root / "plain_plugin.py").unlink()
    assert len(distribution_digest(dist)) == 64


def test_the_core_has_a_digest_that_leaves_its_tests_out(tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    (package / "testing").mkdir(parents=True)
    (package / "a.py").write_text("1")
    before = source_digest([package], leave_out=[package / "testing"])
    (package / "testing" / "b.py").write_text("1")
    assert source_digest([package], leave_out=[package / "testing"]) == before != source_digest([package])
    assert core_digest() == core_digest() and len(core_digest()) == 64
