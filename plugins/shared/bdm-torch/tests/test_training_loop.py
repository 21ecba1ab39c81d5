"""The training loop: equal to one written by hand, resumed with the same bits, the same on two processes."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from bdm_core.errors import ArtifactError, PluginError, StageError, UserError
from bdm_core.run.ranks import lone_hook
from bdm_torch.accelerators import needs_no_wrapper
from bdm_torch.draws import Draw, step_seed
from bdm_torch.objective import Objective
from bdm_torch.tensors import read_tensors, write_tensors
from bdm_torch.training import TrainingOptions, train

INPUTS = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
TARGETS = INPUTS @ torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
OPTIONS = TrainingOptions(
    steps=60, batch_size=8, learning_rate=0.05, warmup_steps=5, weight_decay=0.01, ema_decay=0.9, max_gradient_norm=0.5
)
FEW = dataclasses.replace(OPTIONS, steps=12)


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 2))


def loss(model: nn.Module, draw: Draw) -> Tensor:
    rows = draw.rows(len(INPUTS))
    return nn.functional.mse_loss(model(INPUTS[rows] + 0.1 * draw.normal(5)), TARGETS[rows])


def weights(model: nn.Module) -> Tensor:
    return torch.cat([value.flatten() for value in model.state_dict().values()])


def by_hand(model: nn.Module) -> list[float]:
    """AdamW (Loshchilov and Hutter 2019) with warm-up, cosine, clipping and averaging, from the formulas."""
    parameters = list(model.parameters())
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    average = [p.detach().clone() for p in parameters]
    losses = []
    for step in range(60):
        value = loss(model, Draw(7, step, 8))
        gradients = torch.autograd.grad(value, parameters)
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
        rate = 0.05 * min(1, (step + 1) / 5) * (1 + math.cos(math.pi * step / 60)) / 2
        decay = min(0.9, (1 + step) / (10 + step))
        with torch.no_grad():
            for i, (p, g) in enumerate(zip(parameters, gradients, strict=True)):
                g = g * min(1.0, 0.5 / (norm + 1e-6))
                first[i] = 0.9 * first[i] + 0.1 * g
                second[i] = 0.999 * second[i] + 0.001 * g * g
                mean, square = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.999 ** (step + 1))
                p.copy_(p * (1 - rate * 0.01) - rate * mean / (square.sqrt() + 1e-8))
                average[i] = decay * average[i] + (1 - decay) * p
        losses.append(value.item())
    with torch.no_grad():
        for p, mean in zip(parameters, average, strict=True):
            p.copy_(mean)
    return losses


def test_equals_a_loop_written_by_hand() -> None:
    ours, reference = network(), network()
    result = train(ours, loss, OPTIONS, seed=7)
    losses = by_hand(reference)
    assert result.losses == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(weights(ours), weights(reference), rtol=1e-4, atol=1e-5)
    assert losses[-1] < 0.5 * losses[0]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("kill_at", [1, 26, 59])
def test_killed_training_continues_with_the_same_bits(tmp_path: Path, kill_at: int) -> None:
    options = dataclasses.replace(OPTIONS, checkpoint_seconds=0.0)
    undisturbed = network(dropout=0.3)
    whole = train(undisturbed, loss, options, seed=7)

    def deadly(model: nn.Module, draw: Draw) -> Tensor:
        if draw.step == kill_at:
            raise Killed
        return loss(model, draw)

    with pytest.raises(Killed):
        train(network(dropout=0.3), deadly, options, seed=7, work=tmp_path)
    resumed = network(dropout=0.3)
    rest = train(resumed, loss, options, seed=7, work=tmp_path)
    assert rest.resumed_from == kill_at // 25 * 25
    assert rest.losses == whole.losses
    assert torch.equal(weights(resumed), weights(undisturbed))


def test_checkpoint_of_another_training_is_not_used(tmp_path: Path) -> None:
    train(network(), loss, OPTIONS, seed=7, work=tmp_path)
    assert train(network(), loss, OPTIONS, seed=7, work=tmp_path).resumed_from == OPTIONS.steps
    assert train(network(), loss, OPTIONS, seed=8, work=tmp_path).resumed_from == 0


def test_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(network(), loss, OPTIONS, seed=7, work=tmp_path)
    checkpoint = tmp_path / "train.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-40])
    with pytest.raises(ArtifactError, match="is damaged; delete it"):
        train(network(), loss, OPTIONS, seed=7, work=tmp_path)


def test_global_random_state_is_left_alone() -> None:
    model = network()
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train(model, loss, OPTIONS, seed=7)
    assert torch.equal(torch.rand(3), expected)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import torch; from torch import distributed\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_training_loop as t\n"
        "model = t.network(); result = t.train(model, t.loss, t.FEW, seed=7, work=Path(sys.argv[1]))\n"
        "rank = distributed.get_rank(); assert distributed.get_world_size() == 2\n"
        "t.write_tensors(Path(sys.argv[1], f'{rank}.safetensors'),"
        " {'weights': t.weights(model), 'losses': torch.tensor(result.losses)})\n"
        "distributed.barrier(); distributed.destroy_process_group()\n"
        "import os; os._exit(0)  # gloo's threads sometimes abort the interpreter's own end\n"
    )
    common = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    alone = network()
    result = train(alone, loss, FEW, seed=7)
    for rank in range(2):
        found = read_tensors(tmp_path / f"{rank}.safetensors")
        torch.testing.assert_close(found["weights"], weights(alone), rtol=1e-4, atol=1e-5)
        assert found["losses"].tolist() == pytest.approx(result.losses, rel=1e-4)
    assert (tmp_path / "train.safetensors").is_file()


def test_training_in_a_hook_that_the_other_ranks_do_not_enter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with lone_hook("attack:forgetful", "inject-backdoor", alone=True), pytest.raises(PluginError, match="distributed"):
        train(network(), loss, FEW, seed=7)


def _free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("precision", ["bf16", "no"])
def test_mixed_precision_is_undone(precision: Any) -> None:
    model, seen = network(), set()

    def noting(wrapped: nn.Module, draw: Draw) -> Tensor:
        hook = model[0].register_forward_hook(lambda module, args, output: seen.add(output.dtype))
        value = loss(wrapped, draw)
        hook.remove()
        return value

    train(model, noting, TrainingOptions(steps=2, batch_size=4, mixed_precision=precision), seed=0)
    assert (torch.bfloat16 in seen) == (precision == "bf16")
    output = model(INPUTS)
    assert output.dtype == torch.float32
    again = network()
    again.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(again.eval()(INPUTS), output)


def test_infinite_loss_is_reported() -> None:
    with pytest.raises(StageError, match="not finite near step 4: lower the learning rate"):
        train(network(), lambda model, draw: loss(model, draw) * math.inf, TrainingOptions(steps=4), seed=0)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="steps=0"):
        train(network(), loss, TrainingOptions(steps=0), seed=0)


def test_progress_reaches_the_end() -> None:
    calls: list[tuple[str, int, int]] = []
    options = TrainingOptions(steps=30, batch_size=4)
    train(network(), loss, replace(options, label="tune"), seed=0, progress=lambda *call: calls.append(call[:3]))
    assert calls == [("tune", 25, 30), ("tune", 30, 30)]


def test_every_epoch_sees_every_row_once() -> None:
    rows = torch.cat([Draw(5, step, 8).rows(12) for step in range(6)])
    for epoch in rows.split(12):
        assert sorted(epoch.tolist()) == list(range(12))
    assert rows[:12].tolist() != rows[12:24].tolist()


def test_shares_make_up_the_batch() -> None:
    whole = Draw(5, 3, 8)
    parts = [Draw(5, 3, 8, share=slice(start, start + 4)) for start in (0, 4)]
    draws = [lambda d: d.rows(100), lambda d: d.integers(9), lambda d: d.timesteps(50), lambda d: d.normal(2, 3)]
    for draw in (*draws, lambda d: d.uniform(4)):
        together = draw(whole)
        assert torch.equal(torch.cat([draw(part) for part in parts]), together)


def test_timesteps_are_stratified() -> None:
    t = Draw(5, 0, 20).timesteps(100)
    assert sorted((t // 5).tolist()) == list(range(20))


def test_step_seeds_differ() -> None:
    assert len({step_seed(1, step) for step in range(1000)} | {step_seed(2, step) for step in range(1000)}) == 2000


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.ones(2)})

    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bdm_torch.tensors._bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(path, {"x": torch.zeros(2)})
    assert read_tensors(path)["x"].tolist() == [1, 1]
    assert [item.name for item in tmp_path.iterdir()] == ["a.safetensors"]


def test_tensors_that_share_memory_are_written_in_full(tmp_path: Path) -> None:
    whole = torch.arange(6.0).reshape(2, 3)
    write_tensors(tmp_path / "a.safetensors", {"whole": whole, "again": whole, "row": whole[1]})
    found = read_tensors(tmp_path / "a.safetensors")
    assert torch.equal(found["whole"], whole) and torch.equal(found["again"], whole)
    assert found["row"].tolist() == [3, 4, 5]


def test_the_wrapper_is_left_out_only_where_it_would_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, wrapped = network(), network()
    losses = train(plain, loss, FEW, seed=7).losses
    monkeypatch.setattr("bdm_torch.training.needs_no_wrapper", lambda accelerator: False)
    assert train(wrapped, loss, FEW, seed=7).losses == losses
    assert torch.equal(weights(plain), weights(wrapped))


@pytest.mark.parametrize("options", [{}, {"mixed_precision": "bf16"}, {"dynamo_backend": "eager"}])
def test_mixed_precision_and_compilation_need_the_wrapper(options: dict[str, Any]) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        assert needs_no_wrapper(Accelerator(cpu=True, **options)) is (not options)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_the_first_part_of_a_training_is_the_whole_one_up_to_there() -> None:
    """At the rates of the whole: bit by bit what the whole training has after so many steps."""
    model, seen = network(), []
    plain = replace(FEW, ema_decay=None)
    objective = Objective(loss, after_step=lambda step: seen.append(weights(model).clone()))
    whole = train(model, objective, plain, seed=7)
    part = network()
    result = train(part, loss, replace(plain, until=5), seed=7)
    assert torch.equal(weights(part), seen[4]) and result.losses == whole.losses[:5]
    assert len(train(network(), loss, replace(plain, until=99), seed=7).losses) == plain.steps
