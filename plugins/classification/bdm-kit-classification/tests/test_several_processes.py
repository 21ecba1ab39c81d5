"""Two processes train a classifier with batch normalisation to the weights that one process gives."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.image_classifiers import build, normalised
from bdm_kit_classification.training.fitting import fit
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_torch.tensors import read_tensors

CODE = """
import os, sys
from pathlib import Path
from torch import distributed
sys.path.insert(0, {tests!r})
import test_several_processes as t
from bdm_torch.tensors import write_tensors
rank = os.environ["RANK"]
found = t.trained(Path({folder!r}) / rank)
assert distributed.get_world_size() == 2
write_tensors(Path({folder!r}, rank + ".safetensors"), found)
distributed.barrier(); distributed.destroy_process_group()
os._exit(0)  # gloo's threads sometimes abort the interpreter's own end
"""


def trained(folder: Path) -> dict[str, torch.Tensor]:
    """The state of a small classifier after three epochs, with shifted pictures."""
    pictures, labels = load_builtin("digits").training
    samples = LabelledSamples(pictures[:60], labels[:60], [str(n) for n in range(10)], "image-classification")
    classifier = build(normalised(samples.stored, samples.classes, width=4), seed=0)
    params = ClassifierTraining(epochs=3, batch_size=20, shift=1, learning_rate=0.02)
    result = fit(new_context(folder), classifier, samples, params)
    losses = torch.tensor(result.losses)
    return {"losses": losses, **{name: value.contiguous() for name, value in classifier.state_dict().items()}}


def test_two_processes_give_what_one_gives(tmp_path):
    code = CODE.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    common |= {"MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code], env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    alone = trained(tmp_path / "alone")
    assert any("running_mean" in name for name in alone), "the test needs batch normalisation"
    for rank in range(2):
        found = read_tensors(tmp_path / f"{rank}.safetensors")
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                found[name], value, rtol=1e-3, atol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
            )
