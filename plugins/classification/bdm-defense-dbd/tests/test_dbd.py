from bdm_core.testing import DefenseConformance


class TestDbd(DefenseConformance):
    plugin = "dbd"
    task = "image-classification"
    max_change = 30.0
