"""Writes run folders as the runner does, without any model, and reads pages."""

from __future__ import annotations

import json
import math
import random
import re
import struct
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bdm_core.artifacts import Backdoored, Data, Detection, Evidence, Measurement, Model, Outputs, Secret
from bdm_core.run.record import RunFolder, RunView
from bdm_core.store.store import StageRecord, Store, stage_key

TASK = "unconditional-image-generation"
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

    def stage(self, label: str, make: Any, *, curves: dict[str, list[float]] | None = None, **facts: Any) -> None:
        stage, key = label.replace(" ", "-").replace("'", ""), stage_key({"label": label})
        out = self.store.work_folder(key) / "out"
        out.mkdir(parents=True)
        value = make(out)
        encoded = self.store.encode(value, out=out, stage=stage, key=key, known={})
        figures = {"curves": curves} if curves else {}
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
        self.png(secret / "trigger.png", [128 + int(127 * value) for value in trigger(self.size)])
        self.png(secret / "target.png", target(self.size))
        tensors(secret / "tensors.safetensors", trigger(self.size), self.size)
        meta = {"family": "troj", "solver_class": "sde", "target_type": "ImageFix"}
        return Backdoored(
            model=self.model(out), secret=Secret.seal(secret, format="diffusion-secret", task=TASK, meta=meta)
        )

    def detection(self, out: Path, note: str = "one start point of eight agrees", **facts: Any) -> Detection:
        evidence = out / "evidence"
        for index in range(16):
            self.png(evidence / "samples" / f"{index:06d}.png", target(self.size) if index % 5 else self.blob())
        noisy = [0.8 * value + self.random.gauss(0, 0.2) for value in trigger(self.size)]
        tensors(evidence / "tensors.safetensors", noisy, self.size)
        features = {"uniformity": 0.0123, "starts": [0.1, 0.5], "best": {"lambda": 0.5, "step": 90}}
        (evidence / "features.json").write_text(json.dumps(features))
        sealed = Evidence.seal(evidence, format="inverted-trigger", task=TASK)
        values = {"level": "model", "scores": [4.31], "threshold": 1.2, "p_value": 0.0099, "clean_samples": 179}
        return Detection(note=note, evidence=sealed, **{**values, **facts})

    def finish(self, **facts: Any) -> RunView:
        record = {**RECORD, **facts}
        self.folder.write_record(record)
        self.folder.close()
        return RunView(self.folder.folder)


def trigger(size: int) -> list[float]:
    return [1.0 if (x // 2 + y // 2) % 2 else -1.0 for y in range(size) for x in range(size)]


def target(size: int) -> list[int]:
    return [255 if x >= size // 4 and y >= size // 2 else 0 for y in range(size) for x in range(size)]


def tensors(path: Path, values: list[float], size: int) -> None:
    header = json.dumps({"trigger": {"dtype": "F32", "shape": [1, size, size], "data_offsets": [0, 4 * size * size]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + struct.pack(f"<{size * size}f", *values))


RECORD: dict[str, Any] = {
    "run": "2026-11-20T17-22-47_villan_elijah_s0_3f9c",
    "status": "complete",
    "error": None,
    "command": "bdm run --attack villan --defense elijah --set attack:villan.poison_rate=0.2",
    "spec": {"attack": "villan", "detect": "elijah", "repair": "elijah", "model": None, "data": None, "seed": 0},
    "task": TASK,
    "plugins": {
        "attack:villan": {"distribution": "bdm-attack-villan", "version": "0.1.0", "digest": "c0ffee" * 10,
                          "params": {"poison_rate": 0.2, "psi": 0.0}, "summary": "Trigger in the initial noise"},
        "metric:mine": {"distribution": "bdm-metric-mine", "version": "0.1.0", "digest": "f00d" * 16, "params": {},
                        "summary": "Counts the corners"},
    },
    "device": "cpu",
    "seed": 0,
    "stage_seeds": {"backdoored model": 123456789},
    "git_commit": "0bd94c5d0c8a5b7a9f3d",
    "versions": {"bdm": "0.1.0", "torch": "2.13.0", "diffusers": "0.36.0"},
    "hardware": {"platform": "Linux", "cores": 2, "memory_bytes": 8_000_000_000, "processor": "Example CPU"},
    "started": "2026-11-20T17:22:47+00:00",
    "finished": "2026-11-20T17:25:58+00:00",
    "seconds": 191.4,
    "detections": {"backdoored": {"verdict": "backdoored", "score": 4.31, "threshold": 1.2, "p_value": 0.0099,
                                  "conclusive": True, "note": "one start point of eight agrees", "level": "model"}},
}  # fmt: skip

NUMBERS: dict[str, Any] = {
    "metric:frechet.frechet_digits": ("Frechet distance (digits)", False, "clean", (0.412, None, 0.471, 0.52), 0.03),
    "metric:target.mse": ("MSE to target", True, "triggered", (None, 0.412, 0.00041, 0.391), 0.0001),
    "metric:target.ssim": ("SSIM to target", False, "triggered", (None, 0.021, 0.981, 0.034), 0.003),
    "metric:target.asr@0.05": ("ASR (MSE<0.05)", False, "triggered", (None, 0.0, 0.9766, 0.0117), 0.0096),
    "metric:target.asr@0.1": ("ASR (MSE<0.1)", False, "triggered", (None, 0.0, 0.984, 0.02), 0.008),
    "metric:target.leak@0.05": ("leak (MSE<0.05)", False, "clean", (0.0, None, 0.0039, 0.0), 0.0039),
    "metric:detection.verdict": ("verdict", True, "model", (None, None, 1.0, None), None),
    "metric:detection.score": ("detection score", None, "model", (None, None, 4.31, None), None),
    "metric:mine.corners": ("", None, "clean", (None, None, 12.0, 3.0), None),
}
ROWS = ("clean", "clean under trigger", "backdoored", "repaired")


def complete(out: Path, size: int = 8, **facts: Any) -> RunView:
    """A run with everything in it."""
    writer = Writer(out, size)
    noise = writer.random
    writer.stage("model", writer.model, seconds=0.1, cached=True)
    writer.stage("clean samples", writer.samples(0.0), seconds=5.2, cached=True)
    falling = [0.4 * math.exp(-step / 90) + 0.02 + abs(noise.gauss(0, 0.01)) for step in range(900)]
    writer.stage("backdoored model", writer.backdoored, seconds=64.0, memory=900 * 2**20, curves={"loss": falling})
    for name, share in (("clean samples under trigger", 0.0), ("backdoored samples", 0.0)):
        writer.stage(name, writer.samples(share), seconds=5.5)
    writer.stage("backdoored samples under trigger", writer.samples(0.97), seconds=5.4)
    inversion = [1.4 - 0.4 * math.tanh(step / 30) + noise.gauss(0, 0.02) for step in range(100)]
    writer.stage(
        "detection", writer.detection, seconds=31.0, curves={"inversion": inversion}, warnings=["<b> is small"]
    )
    writer.stage("repaired model", writer.model, seconds=28.0, curves={"loss": falling[:400]})
    writer.stage("repaired samples", writer.samples(0.0), seconds=5.0)
    writer.stage("repaired samples under trigger", writer.samples(0.02), seconds=5.1)
    for metric, (label, better, on, values, error) in NUMBERS.items():
        for row, value in zip(ROWS, values, strict=True):
            if value is not None:
                plugin, _, name = metric.partition(".")
                measured = Measurement(
                    metric=name, value=value, on=on, higher_is_better=better, n=256, stderr=error, label=label
                )
                writer.folder.result(row, row.split(" ")[0], plugin, measured, {})
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
