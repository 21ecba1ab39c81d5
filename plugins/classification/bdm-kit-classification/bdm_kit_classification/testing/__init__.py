"""Conformance tests of plugins for classifiers, beside those of all plugins, and a network with a planted backdoor.

>>> from bdm_kit_classification.testing import ClassifierAttackConformance, ClassifierDefenseConformance
>>> class TestMine(ClassifierAttackConformance):
...     plugin = "mine"
>>> class TestMyDefense(ClassifierDefenseConformance):
...     plugin = "my-defense"
"""

from bdm_kit_classification.testing.attack import ClassifierAttackConformance
from bdm_kit_classification.testing.defense import ClassifierDefenseConformance
from bdm_kit_classification.testing.row_detector import RowDetectorConformance

__all__ = ["ClassifierAttackConformance", "ClassifierDefenseConformance", "RowDetectorConformance"]
