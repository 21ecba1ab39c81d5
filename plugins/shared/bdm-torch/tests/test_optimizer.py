"""The optimiser, the clipping and the average against PyTorch's own, to the bit."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from bdm_torch.optimizer import AdamW, clip_gradients, follow

SHAPES = [(3, 4), (5,), (), (2, 3, 2)]


def pair(dtypes: tuple[torch.dtype, ...] = (torch.float32,) * 4) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator).to(dtype) for shape, dtype in zip(SHAPES, dtypes, strict=True)]
    return [value.clone().requires_grad_() for value in drawn], [value.clone().requires_grad_() for value in drawn]


def give_gradients(step: int, *sets: list[Tensor], without: tuple[int, ...] = ()) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for index, same in enumerate(zip(*sets, strict=True)):
        gradient = torch.randn(same[0].shape, generator=generator)
        for parameter in same:
            parameter.grad = None if index in without else gradient.to(parameter.dtype).clone()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("gaps", [{}, {0: (1,), 3: (1, 2)}, {2: (0,)}, {1: (0, 1, 2, 3)}])
def test_steps_are_those_of_torch(fused: bool, gaps: dict[int, tuple[int, ...]]) -> None:
    ours, theirs = pair()
    mine = AdamW(ours, learning_rate=0.1, weight_decay=0.02, fused=fused)
    reference = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.02, fused=fused)
    for step in range(6):
        mine.param_groups[0]["lr"] = reference.param_groups[0]["lr"] = 0.1 / (1 + step)
        give_gradients(step, ours, theirs, without=gaps.get(step, ()))
        mine.step()
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), step


def test_without_decay_it_is_adam() -> None:
    ours, theirs = pair()
    mine, reference = AdamW(ours, learning_rate=0.1), torch.optim.Adam(theirs, lr=0.1)
    for step in range(4):
        give_gradients(step, ours, theirs)
        mine.step()
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_types_may_be_mixed() -> None:
    ours, theirs = pair((torch.float32, torch.bfloat16, torch.float64, torch.bfloat16))
    mine = AdamW(ours, learning_rate=0.1, fused=True)
    reference = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.0, fused=True)
    for step in range(3):
        give_gradients(step, ours, theirs)
        mine.step()
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("gap", [(), (2,)])
def test_restored_state_continues_with_the_same_bits(fused: bool, gap: tuple[int, ...]) -> None:
    whole, parts = pair()
    undisturbed, first = (AdamW(values, learning_rate=0.1, fused=fused) for values in (whole, parts))
    for step in range(3):
        give_gradients(step, whole, parts, without=gap)
        undisturbed.step()
        first.step()
    second = AdamW(parts, learning_rate=0.1, fused=fused)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for step in range(3, 6):
        give_gradients(step, whole, parts)
        undisturbed.step()
        second.step()
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_state_has_the_names_of_torch() -> None:
    ours, theirs = pair()
    mine = AdamW(ours, learning_rate=0.1, fused=True)
    reference = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.0, fused=True)
    give_gradients(0, ours, theirs)
    mine.step()
    reference.step()
    found, expected = mine.state_dict(), reference.state_dict()
    assert found["state"].keys() == expected["state"].keys()
    for index, state in expected["state"].items():
        assert found["state"][index].keys() == state.keys()
        assert all(torch.equal(value, state[name]) for name, value in found["state"][index].items())
    assert found["param_groups"] == [{name: expected["param_groups"][0][name] for name in ("params", "lr")}]


def test_gradient_scaler_steps_it_unless_a_gradient_is_not_finite() -> None:
    ours, theirs = pair()
    mine = AdamW(ours, learning_rate=0.1, fused=True)
    reference = torch.optim.AdamW(theirs, lr=0.1, weight_decay=0.0, fused=False)
    scalers = [torch.amp.GradScaler("cpu", init_scale=8.0) for _ in range(2)]
    for step in range(3):
        for optimizer, values, scaler in ((mine, ours, scalers[0]), (reference, theirs, scalers[1])):
            loss = sum((value.square().sum() for value in values), torch.zeros(()))
            for value in values:
                value.grad = None
            scaler.scale(loss * (torch.inf if step == 1 else 1.0)).backward()
            scaler.unscale_(optimizer)  # type: ignore[arg-type]
            scaler.step(optimizer)  # type: ignore[arg-type]
            scaler.update()
    assert scalers[0].get_scale() == scalers[1].get_scale() == 4.0
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("largest", [0.5, 1000.0, 0.0])
def test_clipping_is_that_of_torch(largest: float) -> None:
    ours, theirs = pair()
    give_gradients(0, ours, theirs, without=(1,))
    clip_gradients(ours, largest)
    torch.nn.utils.clip_grad_norm_(theirs, largest)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None and b.grad is None) or torch.equal(a.grad, b.grad)  # type: ignore[arg-type]


def test_clipping_leaves_what_is_not_finite_to_be_noticed() -> None:
    weight = torch.zeros(2, requires_grad=True)
    weight.grad = torch.tensor([torch.nan, 1.0])
    clip_gradients([weight], 1.0)
    assert bool(weight.grad.isnan().all())
    clip_gradients([torch.zeros(2, requires_grad=True)], 1.0)  # no gradient at all


def test_average_is_that_of_torch() -> None:
    parameters, averages = pair()
    expected = [value.detach().clone() for value in averages]
    found = [value.detach().clone() for value in averages]
    for decay in (0.1, 0.5, 0.999):
        get_ema_multi_avg_fn(decay)(expected, parameters, None)
        follow(found, parameters, decay)
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(1.0)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_no_compiler_is_imported() -> None:
    code = (
        "import sys, torch; from bdm_torch.optimizer import AdamW; w = torch.ones(2, requires_grad=True)\n"
        "for fused in (True, False):\n"
        "    w.grad = torch.ones(2); AdamW([w], learning_rate=0.1, fused=fused).step()\n"
        "print('torch._dynamo' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
