"""Quick imports: less is imported, and nothing that a program can look up is missing."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bdm_diffusers.quick_imports import _Deferred, _Finder, install

SLOW = (
    "torch._dynamo",
    "transformers",
    "peft",
    "scipy.stats._stats_py",
    "diffusers.models.transformers.transformer_flux",
)


def run(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True, stderr=subprocess.DEVNULL).strip()


def test_one_network_is_imported_without_the_others() -> None:
    code = (
        "import bdm_diffusers, gc, sys\n"
        "from diffusers import UNet2DModel, DDPMScheduler\n"
        "network = UNet2DModel(sample_size=8, block_out_channels=(32,), layers_per_block=1,\n"
        "    down_block_types=('DownBlock2D',), up_block_types=('UpBlock2D',)).to('cpu')\n"
        "DDPMScheduler.from_config({'_class_name': 'DDPMScheduler'}), network.device\n"
        f"print([name for name in {SLOW} if name in sys.modules], gc.isenabled())"
    )
    assert run(code) == "[] True"


def test_deferred_packages_are_whole_when_asked() -> None:
    code = (
        "import bdm_diffusers, sys\n"
        "from diffusers import UNet2DModel\n"
        "import diffusers.models.transformers as deferred\n"
        "assert hasattr(deferred, 'FluxTransformer2DModel') and not hasattr(deferred, 'NoSuchNetwork')\n"
        "from diffusers.models.unets import UNet2DConditionModel, UNet2DModel as same\n"
        "assert same is UNet2DModel and type(deferred) is type(sys)\n"
        "assert type(deferred.__loader__).__module__ != 'bdm_diffusers.quick_imports'\n"
        "import torch._dynamo\n"
        "print(sys.modules['torch._dynamo'] is torch._dynamo)"
    )
    assert run(code) == "True"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package ``peft`` (any of the large names would do) with an ``__init__`` that a test writes."""
    folder = tmp_path / "peft" / "inner"
    folder.mkdir(parents=True)
    (tmp_path / "peft" / "__init__.py").touch()
    monkeypatch.setattr("bdm_diffusers.quick_imports.DEFERRED", frozenset({"peft.inner"}))
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "peft"]:
        monkeypatch.delitem(sys.modules, name)
    return folder


def test_a_failed_package_says_so_each_time(package: Path) -> None:
    (package / "__init__.py").write_text("raise ImportError('missing part')")
    import peft.inner

    for _ in range(2):
        with pytest.raises(ImportError, match="missing part"):
            peft.inner.anything  # noqa: B018
    assert type(sys.modules["peft.inner"]) is _Deferred
    for name in ("peft.inner", "peft"):
        sys.modules.pop(name)


def test_other_threads_wait_for_the_whole_package(package: Path) -> None:
    (package / "__init__.py").write_text("import time\nfirst = 1\ntime.sleep(0.2)\nfrom . import leaf\nlast = leaf.two")
    (package / "leaf.py").write_text("two = 2")
    import peft.inner

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(peft.inner.last)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2, 2, 2]
    for name in ("peft.inner.leaf", "peft.inner", "peft"):
        sys.modules.pop(name)


def test_functions_are_kept_from_the_compiler_when_first_called() -> None:
    code = (
        "import bdm_diffusers, sys\n"
        "from diffusers.hooks.group_offloading import ModuleGroup\n"
        "import torch\n"
        "before = 'torch._dynamo' in sys.modules\n"
        "class Group(ModuleGroup):\n"
        "    def __init__(self): self.onload_leader = None; self.offload_to_disk_path = None\n"
        "try: Group().onload_()\n"
        "except AttributeError: pass\n"
        "print(before, 'torch._dynamo' in sys.modules, torch.compiler.disable.__module__)"
    )
    assert run(code) == "False True torch.compiler"


def test_distributions_are_whole_when_asked() -> None:
    code = "import bdm_diffusers, scipy.stats; print(round(float(scipy.stats.norm.sf(0.0)), 3))"
    assert run(code) == "0.5"
    assert run("import bdm_diffusers; from scipy.stats import *; print(round(float(norm.sf(0.0)), 3))") == "0.5"
    assert run("import bdm_diffusers; from scipy.stats import beta, kstest; print(beta.name)") == "beta"


def test_quantisation_of_diffusers_finds_the_classes_of_transformers() -> None:
    code = (
        "import bdm_diffusers, sys\n"
        "from diffusers import UNet2DModel, PipelineQuantizationConfig\n"
        "before = 'transformers' in sys.modules\n"
        "from diffusers import BitsAndBytesConfig\n"
        "config = PipelineQuantizationConfig(quant_mapping={'unet': BitsAndBytesConfig(load_in_8bit=True)})\n"
        "from transformers.utils.quantization_config import QuantizationConfigMixin\n"
        "print(before, QuantizationConfigMixin.__module__, hasattr(QuantizationConfigMixin, 'from_dict'))"
    )
    assert run(code) == "False transformers.utils.quantization_config True"


def test_what_is_imported_is_no_garbage() -> None:
    code = (
        "import gc\n"
        "from bdm_diffusers.quick_imports import keep_imported\n"
        "keep_imported(); kept = gc.get_freeze_count(); loop = []; loop.append(loop); keep_imported()\n"
        "print(kept > 10_000, gc.get_freeze_count() <= kept)"
    )
    assert run(code) == "True True"


def test_installed_once() -> None:
    install()
    assert sum(isinstance(finder, _Finder) for finder in sys.meta_path) == 1
