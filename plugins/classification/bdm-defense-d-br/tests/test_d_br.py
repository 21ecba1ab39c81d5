from bdm_core.testing import DefenseConformance


class TestDbr(DefenseConformance):
    plugin = "d-br"
    task = "image-classification"
    max_change = 30.0
