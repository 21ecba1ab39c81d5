"""Plain fine-tuning."""

import torch

from bdm_core.testing import DefenseConformance
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.draws import Draw
from bdm_torch.image_sets import load_images


class TestFineTune(DefenseConformance):
    plugin = "fine-tune"
    task = "unconditional-image-generation"
    params = {"steps": 3, "batch_size": 4, "learning_rate": 1e-4}


class TestEnoughSteps(DefenseConformance):
    """A little training on the data lowers the loss on them."""

    plugin = "fine-tune"
    task = "unconditional-image-generation"
    params = {"steps": 150, "batch_size": 16, "learning_rate": 5e-3, "warmup_steps": 0, "ema_decay": None}
    max_change = 2.0

    def test_learns_the_data(self, bench):
        repaired = self.repair(bench, informed=False).value
        images, losses = load_images(bench.shared), []
        for model in (load_model(bench.model), load_model(repaired)):
            loss = denoising_loss(images, model.scheduler)
            with torch.no_grad():
                draws = [Draw(seed=7, step=step, batch_size=32) for step in range(4)]
                losses.append(sum(float(loss(model.unet, draw)) for draw in draws))
        assert losses[1] < 0.9 * losses[0]
