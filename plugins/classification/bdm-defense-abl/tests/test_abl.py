from bdm_core.testing import DefenseConformance


class TestAbl(DefenseConformance):
    plugin = "abl"
    task = "image-classification"
    max_change = 30.0
