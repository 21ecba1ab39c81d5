"""The kit satisfies what every task kit must."""

from bdm_core.testing import KitConformance
from bdm_kit_diffusion.plugin import DiffusionKit


class TestDiffusionKit(KitConformance):
    plugin = DiffusionKit
