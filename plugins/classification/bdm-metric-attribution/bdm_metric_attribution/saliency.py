"""Grad-CAM, SHAP values by expected gradients, and saliency by frequency."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_kit_classification.models.feature_maps import outputs_of


def grad_cam(model: nn.Module, layer: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """Class activation maps (N, H, W) in [0, 1] (Selvaraju et al. 2017, equations 1 and 2).

    Each channel of the layer's maps is weighted by the mean gradient of the class's logit with respect to it; the sum's
    positive part is enlarged to the picture and divided by its maximum.

    Args:
        model: from pictures (N, C, H, W) to logits.
        layer: of the model, whose output is maps (N, U, h, w).
        inputs: pictures.
        classes: (N,) whose logit is explained.
    """
    with torch.enable_grad(), outputs_of([layer]) as outputs:
        chosen = model(inputs.detach().requires_grad_()).gather(1, classes[:, None].to(inputs.device)).sum()
        maps = outputs[0]
        (gradient,) = torch.autograd.grad(chosen, [maps])
    weights = gradient.mean((2, 3), keepdim=True)
    cam = (weights * maps.detach()).sum(1, keepdim=True).clamp_min(0)
    cam = functional.interpolate(cam, inputs.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return (cam / cam.amax((1, 2), keepdim=True).clamp_min(1e-12)).float().cpu()


def shap_values(
    model: nn.Module, inputs: Tensor, classes: Tensor, background: Tensor, draws: int, generator: torch.Generator
) -> Tensor:
    """SHAP values (N, C, H, W) of the class's logit by expected gradients (Erion et al. 2019, arXiv 1906.10670).

    The mean over draws of a background picture b and of t in [0, 1] of (x - b) times the gradient at b + t (x - b). The
    values of a picture sum to its logit minus the mean logit of the background, up to the sampling.

    Args:
        model: from pictures to logits.
        inputs: pictures x.
        classes: (N,).
        background: pictures (B, C, H, W) that b is drawn from.
        draws: for each picture.
        generator: of the draws; on the CPU.
    """
    total = torch.zeros_like(inputs)
    for number in range(draws):
        rows = torch.randint(len(background), (len(inputs),), generator=generator)
        share = (number + torch.rand(len(inputs), generator=generator)) / draws  # one in each of as many strata
        share = share.to(inputs)[:, None, None, None]
        start = background[rows].to(inputs)
        total += (inputs - start) * input_gradient(model, start + share * (inputs - start), classes)
    return (total / draws).float().cpu()


def frequency_saliency(model: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """(H, W): the mean over pictures and channels of the size of the logit's derivative by each Fourier coefficient.

    With the orthonormal transform the derivatives by coefficients are the transform of the gradient by pixels. The
    constant part is in the middle (``fftshift``).
    """
    gradient = input_gradient(model, inputs, classes)
    found: Tensor = torch.fft.fftshift(torch.fft.fft2(gradient.double(), norm="ortho").abs().mean((0, 1)))
    return found.float().cpu()


def input_gradient(model: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """(N, C, H, W) the gradient of each picture's logit of its class."""
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model(leaf).gather(1, classes[:, None].to(leaf.device)).sum(), [leaf])
    return gradient
