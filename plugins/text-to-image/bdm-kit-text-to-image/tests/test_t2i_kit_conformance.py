"""The text-to-image kit satisfies what every task kit must."""

from bdm_core.testing import KitConformance
from bdm_kit_text_to_image.plugin import TextToImageKit


class TestTextToImageKit(KitConformance):
    plugin = TextToImageKit
