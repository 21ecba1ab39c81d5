"""The control without a defense."""

from bdm_core import hooks
from bdm_core.testing import DefenseConformance


class TestNone(DefenseConformance):
    plugin = "none"
    max_change = 0.0

    def test_returns_the_very_model(self, bench):
        assert self.repair(bench, informed=False).value == bench.model

    def test_does_not_judge(self):
        assert not hooks.implements(self.subject, "detect")
