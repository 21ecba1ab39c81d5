from bdm_core.testing import DefenseConformance


class TestDst(DefenseConformance):
    plugin = "d-st"
    task = "image-classification"
    max_change = 30.0
