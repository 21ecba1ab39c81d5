"""What the stages of a defense cost, added up by hand."""

from typing import Any

from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_metric_cost.measure import measure

STAGES: dict[str, Any] = {
    "detection": {
        "seconds": 1.5,
        "peak_memory_bytes": 3 * 2**20,
        "figures": {"cost": {"forward_passes": 10, "backward_passes": 0, "clean_samples": 40}, "queries": 3},
    },
    "detection on clean model": {"seconds": 9.0, "peak_memory_bytes": None, "figures": {}},
    "repaired model": {
        "seconds": 2.0,
        "peak_memory_bytes": 5 * 2**20,
        "figures": {"cost": {"forward_passes": 100, "backward_passes": 60, "clean_samples": 40}},
    },
    "purified inputs": {"seconds": 0.25, "figures": {}},
    "purified inputs under trigger": {"seconds": 0.5, "figures": {}},
}


def told(subject: Subject) -> dict[str, float | None]:
    return {item.metric: item.value for item in measure(subject)}


class TestCost(MetricConformance):
    plugin = "cost"

    def rows(self, bench: Any) -> dict[str, Subject]:
        rows = super().rows(bench)
        more = {
            f"{name}, defended": subject.model_copy(update={"stages": STAGES})
            for name, subject in rows.items()
            if name != "perfect attack"
        }
        return rows | more

    def test_every_row_has_the_cost_of_its_stages(self, bench: Any) -> None:
        rows = {subject.role: subject for name, subject in self.rows(bench).items() if subject.stages}
        passes = {"forward_passes": 10.0, "backward_passes": 0.0, "clean_samples": 40.0}
        assert told(rows["clean"]) == {"seconds": 9.0}
        assert told(rows["backdoored"]) == {"seconds": 1.5, "peak_memory": 3.0, **passes}
        assert told(rows["purified"]) == {"seconds": 2.25, "peak_memory": 3.0, **passes}
        assert told(rows["repaired"]) == {
            "seconds": 3.5,
            "peak_memory": 5.0,
            "forward_passes": 110.0,
            "backward_passes": 60.0,
            "clean_samples": 40.0,
        }

    def test_nobody_defended(self, bench: Any) -> None:
        assert measure(self.row(bench, "repaired")) == []
        alone = self.row(bench, "repaired", stages={"detection": STAGES["detection"]})
        assert told(alone)["seconds"] == 1.5
