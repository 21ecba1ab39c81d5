from bdm_core.testing import DefenseConformance


class TestNab(DefenseConformance):
    plugin = "nab"
    task = "image-classification"
    max_change = 30.0
