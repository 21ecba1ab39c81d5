"""Writes run folders as the runner does, without any model, and reads pages."""

from __future__ import annotations

import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bdm_core.artifacts import Artifact, Data, Evidence, Model, Outputs, Secret
from bdm_core.records import Backdoored, Detection, Measurement
from bdm_core.run.record import RunFolder
from bdm_core.store.stage_record import StageRecord, stage_key
from bdm_core.store.store import Store
from bdm_results.view import RunView

TASK = "shown"
HERE = Path(__file__).parent
SITE = str(HERE / "site")
VOID = {"img", "meta", "br", "hr"}


class Writer:
    """Writes a run folder and its store without any model: pictures are noise, curves are formulas."""

    def __init__(self, out: Path, size: int = 8) -> None:
        self.store = Store(out)
        self.store.prepare()
        self.folder = RunFolder(out / "run")
        self.size = size
        self.random = random.Random(0)
        self.known: dict[str, str] = {}

    def stage(self, label: str, make: Any, *, figures: dict[str, Any] | None = None, **facts: Any) -> None:
        stage, key = STAGES.get(label, label.replace(" ", "-").replace("'", "")), stage_key({"label": label})
        out = self.store.work_folder(key) / "out"
        out.mkdir(parents=True)
        value = make(out)
        encoded = self.store.encode(value, out=out, stage=stage, key=key, known={})
        figures = figures or {}
        seconds, memory = facts.get("seconds", 2.5), facts.get("memory", 400 * 2**20)
        record = StageRecord(
            stage=stage, key=key, payload={}, result=encoded, seconds=seconds, peak_memory_bytes=memory, figures=figures
        )
        self.store.publish(record, out)
        entry = {"label": label, "stage": stage, "key": key, "cached": facts.get("cached", False), "seconds": seconds}
        entry |= {"peak_memory_bytes": memory, "seed": 5, "digests": ["ab" * 32], "figures": figures}
        self.folder.stage({**entry, "warnings": facts.get("warnings", [])})

    def png(self, path: Path, values: list[int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.frombytes("L", (self.size, self.size), bytes(values)).save(path)

    def samples(self, share: float, count: int = 40) -> Any:
        def make(out: Path) -> Outputs:
            for index in range(count):
                hit = self.random.random() < share
                values = target(self.size) if hit else self.blob()
                self.png(out / "outputs" / "images" / f"{index:06d}.png", values)
            return Outputs.seal(out / "outputs", format="images", task=TASK, meta={"count": count})

        return make

    def images(self, count: int = 8, **facts: Any) -> Any:
        """Data of pictures; ``format`` may be another one, ``meta`` is kept."""

        def make(out: Path) -> Data:
            for index in range(count):
                self.png(out / "data" / "images" / f"{index:06d}.png", self.blob())
            return Data.seal(out / "data", **{"format": "images", "task": TASK, **facts})

        return make

    def rows(self, cls: type[Artifact], format: str, **files: Any) -> Any:
        """An artifact of JSON files, and of sounds if ``files`` has bytes."""

        def make(out: Path) -> Artifact:
            folder = out / cls.kind_name
            folder.mkdir(parents=True)
            for name, content in files.items():
                if isinstance(content, bytes):
                    (folder / f"{name}.wav").write_bytes(content)
                else:
                    (folder / f"{name}.json").write_text(json.dumps(content))
            return cls.seal(folder, format=format, task=TASK)

        return make

    def blob(self) -> list[int]:
        x0, y0, width = (self.random.uniform(0.3, 0.7) * self.size for _ in range(3))
        return [
            int(255 * math.exp(-((x - x0) ** 2 + (y - y0) ** 2) * 3 / (self.size * 0.35 * width)))
            for y in range(self.size)
            for x in range(self.size)
        ]

    def model(self, out: Path) -> Model:
        (out / "model").mkdir(parents=True)
        (out / "model" / "model_index.json").write_text("{}")
        return Model.seal(out / "model", format="diffusers", task=TASK)

    def data(self, out: Path) -> Data:
        (out / "data").mkdir(parents=True)
        (out / "data" / "rows.jsonl").write_text("{}\n")
        return Data.seal(out / "data", format="images", task=TASK)

    def backdoored(self, out: Path) -> Backdoored:
        secret = out / "secret"
        self.png(secret / "target.png", target(self.size))
        array(secret / "trigger.json", "true trigger", trigger(self.size), self.size)
        return Backdoored(model=self.model(out), secret=Secret.seal(secret, format="secret", task=TASK))

    def detection(self, out: Path, note: str = "one start point of eight agrees", **facts: Any) -> Detection:
        evidence = out / "evidence"
        for index in range(16):
            self.png(evidence / "samples" / f"{index:06d}.png", target(self.size) if index % 5 else self.blob())
        noisy = [0.8 * value + self.random.gauss(0, 0.2) for value in trigger(self.size)]
        array(evidence / "trigger.json", "inverted trigger", noisy, self.size)
        features = {"uniformity": 0.0123, "starts": [0.1, 0.5], "best": {"lambda": 0.5, "step": 90}}
        (evidence / "features.json").write_text(json.dumps(features))
        sealed = Evidence.seal(evidence, format="inverted-trigger", task=TASK)
        values = {"level": "model", "scores": [4.31], "threshold": 1.2, "p_value": 0.0099, "clean_samples": 179}
        return Detection(note=note, evidence=sealed, **{**values, **facts})

    def measured(self, row: str, plugin: str, **measurement: Any) -> None:
        self.folder.result(row, row.split(" ")[0], plugin, Measurement(**measurement), {})

    def finish(self, **facts: Any) -> RunView:
        record = {**RECORD, **facts}
        self.folder.write_record(record)
        self.folder.close()
        return RunView(self.folder.folder)


def trigger(size: int) -> list[float]:
    return [1.0 if (x // 2 + y // 2) % 2 else -1.0 for y in range(size) for x in range(size)]


def target(size: int) -> list[int]:
    return [255 if x >= size // 4 and y >= size // 2 else 0 for y in range(size) for x in range(size)]


def array(path: Path, name: str, values: list[float], size: int) -> None:
    path.write_text(json.dumps({"values": {name: values}, "shape": [1, size, size]}))


STAGES = {"backdoored model": "inject-backdoor", "poisoned data": "poison-data", "detection": "detect"}
"""Label -> name of the stage, where they differ by more than spaces."""

RECORD: dict[str, Any] = json.loads((HERE / "run.json").read_text())
MEASUREMENTS: list[dict[str, Any]] = [
    json.loads(line) for line in (HERE / "measurements.jsonl").read_text().splitlines()
]


def complete(out: Path, size: int = 8, **facts: Any) -> RunView:
    """A run with everything in it."""
    writer = Writer(out, size)
    noise = writer.random
    writer.stage("model", writer.model, seconds=0.1, cached=True)
    writer.stage("inputs", writer.images(), seconds=0.1, cached=True)
    writer.stage("clean samples", writer.samples(0.0), seconds=5.2, cached=True)
    writer.stage("poisoned data", writer.images(16))
    falling = [0.4 * math.exp(-step / 90) + 0.02 + abs(noise.gauss(0, 0.01)) for step in range(900)]
    writer.stage(
        "backdoored model", writer.backdoored, seconds=64.0, memory=900 * 2**20, figures={"curves": {"loss": falling}}
    )
    for name, share in (("clean samples under trigger", 0.0), ("backdoored samples", 0.0)):
        writer.stage(name, writer.samples(share), seconds=5.5)
    writer.stage("backdoored samples under trigger", writer.samples(0.97), seconds=5.4)
    inversion = [1.4 - 0.4 * math.tanh(step / 30) + noise.gauss(0, 0.02) for step in range(100)]
    writer.stage(
        "detection",
        writer.detection,
        seconds=31.0,
        figures={"curves": {"inversion": inversion}},
        warnings=["<b> is small"],
    )
    writer.stage("repaired model", writer.model, seconds=28.0, figures={"curves": {"loss": falling[:400]}})
    writer.stage("repaired samples", writer.samples(0.0), seconds=5.0)
    writer.stage("repaired samples under trigger", writer.samples(0.02), seconds=5.1)
    for line in MEASUREMENTS:
        writer.measured(**line)
    return writer.finish(**facts)


class Balance(HTMLParser):
    """Checks that every element is closed in order, and keeps the attributes and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text += data + " "


def words(page: str) -> str:
    parsed = Balance(page)
    assert parsed.open == []
    return re.sub(r"\s+([.,;:])", r"\1", " ".join(parsed.text.split()))


@pytest.fixture(scope="module", autouse=True)
def site() -> Iterator[None]:
    """The kit ``shown`` and a defense ``elijah`` beside the installed plugins."""
    sys.path.insert(0, SITE)
    yield
    sys.path.remove(SITE)
    sys.modules.pop("bdm_shown", None)


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """An empty run folder with its store below ``tmp_path``."""
    return Writer(tmp_path)


@pytest.fixture(scope="session")
def complete_run() -> Callable[..., RunView]:
    """Writes a run with everything in it: (out, size=8, **facts of run.json)."""
    return complete


@pytest.fixture(scope="session")
def parsed() -> type[Balance]:
    """Parses a page; fails if an element is not closed in order."""
    return Balance


@pytest.fixture(scope="session", name="words")
def words_of_a_page() -> Callable[[str], str]:
    """The text of a page with single spaces."""
    return words
