"""The local executor's slots: memory and GPUs are not promised twice, threads are shared, the urgent comes first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bdm_sweep import local
from bdm_sweep.graph import Graph
from bdm_sweep.local import Pool, Slots
from bdm_sweep.schedule import lower_bound, makespan
from bdm_sweep.times import Times, recorded_times


class Ended:
    """Stands for a worker's process and connection; it keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_bytes(self, text: bytes) -> None:
        self.sent.append(json.loads(text))


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    def start(self: Pool, place: int) -> Any:
        worker = local._Worker(place, Ended(), Ended())  # type: ignore[arg-type]
        self._workers.append(worker)
        return worker

    monkeypatch.setattr(Pool, "_start", start)
    return Pool(Slots(workers=4, threads=1, memory=100, devices=["0", "1"], per_gpu=1), tmp_path)


def task(number: int, priority: float = 0.0, **needs: float) -> dict[str, Any]:
    return {"number": number, "priority": priority, "what": str(number), "needs": needs}


def running(pool: Pool) -> list[int]:
    return [worker.task["number"] for worker in pool._workers if worker.task is not None]


def end(pool: Pool, number: int) -> None:
    (worker,) = [worker for worker in pool._workers if worker.task is not None and worker.task["number"] == number]
    worker.task = None
    pool.submit([])


def test_no_more_tasks_than_workers(pool: Pool) -> None:
    pool.submit([task(number) for number in range(4)])
    assert (running(pool), pool.capacity()) == ([0, 1, 2, 3], 0)


def test_memory_is_not_promised_twice_and_small_tasks_pass_by(pool: Pool) -> None:
    pool.submit([task(0, 9, memory=60), task(1, 8, memory=60), task(2, 7, memory=30)])
    assert running(pool) == [0, 2]
    assert pool.capacity() > 0
    end(pool, 0)
    assert sorted(running(pool)) == [1, 2]


def test_what_needs_more_memory_than_there_is_runs_alone(pool: Pool) -> None:
    pool.submit([task(0, 1), task(1, 9, memory=500)])
    assert running(pool) == [1]
    end(pool, 1)
    assert running(pool) == [0]


def test_a_gpu_has_one_task_at_a_time(pool: Pool) -> None:
    pool.submit([task(number, gpus=1) for number in range(3)])
    assert running(pool) == [0, 1]
    pool.submit([task(3)])
    assert sorted(running(pool)) == [0, 1, 3]
    end(pool, 0)
    assert sorted(running(pool)) == [1, 2, 3]
    places = {worker.place % 2 for worker in pool._workers if worker.task and worker.task["needs"].get("gpus")}
    assert places == {0, 1}


def test_the_most_urgent_waits_shortest(pool: Pool) -> None:
    pool.submit([task(0, memory=90)])
    pool.submit([task(1, 1, memory=80), task(2, 5, memory=80)])
    end(pool, 0)
    assert running(pool) == [2]


def test_longest_chain_first_is_near_the_bound() -> None:
    """Three tasks in a chain and six single ones on two workers: begun with the chain they take 5 seconds, not 6."""
    graph = Graph()
    for number in range(6):
        graph.add(f"single{number}", "", "", (), (), 0)
    for number in range(3):
        graph.add(f"chain{number}", "", "", (), [f"chain{number - 1}"] if number else [], 0)
    graph.weigh(dict.fromkeys(range(9), 1.0))
    assert makespan(graph, 2) == 5.0
    assert lower_bound(graph, 2) == 4.5
    assert makespan(graph, 100) == lower_bound(graph, 100) == 3.0


def test_times_come_from_the_store(tmp_path: Path) -> None:
    for number, seconds in enumerate((1.0, 3.0)):
        folder = tmp_path / f"detect/ab/key{number}"
        folder.mkdir(parents=True)
        record = {"stage": "detect", "payload": {"plugins": {"defense:a": {}, "kit:k": {}}}, "seconds": seconds}
        (folder / "stage.json").write_text(json.dumps({**record, "peak_memory_bytes": 10 * number}))
    (tmp_path / "detect/ab/broken").mkdir()
    (tmp_path / "detect/ab/broken/stage.json").write_text("{")
    times = recorded_times(tmp_path)
    assert times.count == 2
    assert times.seconds("detect", ["defense:a"]) == times.seconds("detect", ["defense:b"]) == 2.0
    assert times.memory("detect", ["defense:a"]) == 10
    assert Times().seconds("detect", []) == 1.0
