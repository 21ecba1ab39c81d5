"""The control without a defense."""

from bdm_core import hooks
from bdm_core.testing.common import PluginConformance


class TestNone(PluginConformance):
    plugin = "none"
    kind = "defense"

    def test_it_does_nothing_and_sees_nothing(self):
        assert [hook for hook in hooks.HOOKS if hooks.implements(self.subject, hook)] == []
        assert self.subject.access == frozenset()
