"""``bdm import``: a foreign checkpoint, read without running its code, as a sealed model of safetensors and JSON."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bdm_cli.console import foreign_code, out, print_json
from bdm_cli.options import Common, Json, Task, takes

if TYPE_CHECKING:
    from bdm_core.artifacts import Model

TEXT_SUFFIXES = frozenset({".json", ".txt", ".model", ".md"})
"""Files beside the weights that are kept: configurations, vocabularies, model cards."""
SAFETENSORS_NAME = {"pytorch_model": "model"}
"""Stems that the libraries name differently for safetensors."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Common):
    """The options of ``bdm import``."""

    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Diffusers folder, archive of one, or state dict (.bin .pt .pth .ckpt).", metavar="CHECKPOINT"
        ),
    ]
    out: Annotated[Path, typer.Option("--out", help="New folder for the sealed model.", metavar="DIR")]
    like: Annotated[
        Path | None,
        typer.Option(help="Diffusers folder of the same architecture, for a bare state dict.", metavar="DIR"),
    ] = None
    task: Task = None
    as_json: Json = False


@takes(ImportOptions)
def import_checkpoint(options: ImportOptions) -> None:
    """Turn a checkpoint into safetensors and JSON that bdm scan and bdm run open.

    Pickles are read with weights_only=True: one that needs code to be loaded is refused. Code files are left out.
    """
    with foreign_code():
        model = convert(options.checkpoint, options.out, like=options.like, task=options.task)
    if options.as_json:
        print_json({"folder": str(options.out), "digest": model.digest, "files": sorted(model.files)})
        return
    console = out()
    console.print(Text(f"sealed {len(model.files)} files in {options.out}"), soft_wrap=True)
    console.print(Text(f"digest {model.digest}"), soft_wrap=True)
    console.print(Text(f"next   bdm scan {options.out}"), soft_wrap=True)


def convert(checkpoint: Path, out_folder: Path, *, like: Path | None, task: str | None) -> Model:
    """Convert a checkpoint into a sealed model in a new folder, which appears only when it is complete.

    Args:
        checkpoint: file, archive or folder.
        out_folder: the new folder.
        like: a folder of the same architecture, for a bare state dict.
        task: the model's task; None for the one that an installed kit sees in the result.

    Raises:
        UserError: the checkpoint is missing, damaged, unsafe, or does not fit; the folder exists or cannot be written;
            no installed kit knows the model, and no task was named.
    """
    from bdm_cli.archive import extract, is_archive
    from bdm_core.artifacts import Model
    from bdm_core.errors import UserError
    from bdm_core.files import existing

    if existing(checkpoint) is None:
        raise UserError(f"{checkpoint} does not exist")
    if existing(out_folder):
        raise UserError(f"{out_folder} exists already: choose a new folder with --out")
    try:
        out_folder.parent.mkdir(parents=True, exist_ok=True)
        temporary_folder = tempfile.TemporaryDirectory(prefix=".bdm-import-", dir=out_folder.parent)
    except OSError as error:
        raise UserError(f"cannot write below {out_folder.parent}: {error.strerror or error}") from None
    with temporary_folder as temporary:
        source = checkpoint
        if checkpoint.is_file() and is_archive(checkpoint):
            source = Path(temporary, "unpacked")
            source.mkdir()
            extract(checkpoint, source)
            source = _content(source, checkpoint)
        target = Path(temporary, "model")
        target.mkdir()
        if source.is_dir():
            _convert_folder(source, target)
        else:
            _convert_state_dict(source, target, like)
        Model.seal(target, format="diffusers", task=task or _task_of(target, checkpoint))
        target.rename(out_folder)
    return Model.open(out_folder)


def _task_of(folder: Path, checkpoint: Path) -> str:
    from bdm_core.discovery.tasks import kits_by_task, tasks_of_model
    from bdm_core.errors import UserError

    found = tasks_of_model(str(folder))
    if len(found) != 1:
        choices = " or ".join(f"--task {task}" for task in found or sorted(kits_by_task())) or "--task TASK"
        raise UserError(f"no installed kit says for sure what task {checkpoint} is for: name it, {choices}")
    return found[0]


def _content(folder: Path, archive: Path) -> Path:
    """The pipeline folder, or else the only checkpoint, in an unpacked archive."""
    from bdm_cli.checkpoint import PICKLED
    from bdm_core.errors import UserError
    from bdm_core.files import walk

    every = walk(folder)
    pipelines = [path for path in every if path.name == "model_index.json"]
    if pipelines:
        return min(pipelines, key=lambda path: len(path.parts)).parent
    files = [path for path in every if path.suffix in PICKLED | {".safetensors"}]
    if len(files) == 1:
        return files[0]
    raise UserError(f"{archive} holds neither a diffusers folder (model_index.json) nor a single checkpoint file")


def _convert_folder(source: Path, target: Path) -> None:
    """Copy a diffusers folder: text files as they are, safetensors as they are, pickled weights converted."""
    from bdm_cli.checkpoint import PICKLED, read_weights, shapes_of, write_weights
    from bdm_core.errors import UserError
    from bdm_core.files import MANIFEST, walk

    if not (source / "model_index.json").is_file():
        raise UserError(
            f"{source} is no diffusers folder: it has no model_index.json; for bare weights give the file and --like"
        )
    for path in walk(source):
        inside = path.relative_to(source)
        if not path.resolve().is_relative_to(source.resolve()):
            raise UserError(f"{path} is a link that leaves {source}: refused")
        if path.name == MANIFEST:
            continue
        if path.suffix in PICKLED:
            converted = target / inside.with_name(safe_name(path.name))
            if not (source / converted.relative_to(target)).exists() and _is_weights(path):
                write_weights(read_weights(path), converted)
        elif path.name.endswith(".bin.index.json"):
            _convert_index(path, target / inside.with_name(safe_name(path.name)))
        elif path.suffix == ".safetensors" or path.suffix in TEXT_SUFFIXES:
            if path.suffix == ".safetensors":
                shapes_of(path)
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inside)
    if not any(target.rglob("*.safetensors")):
        raise UserError(f"{source} holds no weights: expected .safetensors or .bin files beside the configurations")


def _is_weights(path: Path) -> bool:
    """Whether a pickled file is a component's weights; optimiser and scheduler states are left out."""
    return (path.parent / "config.json").is_file()


def safe_name(name: str) -> str:
    """``diffusion_pytorch_model.fp16.bin`` -> ``diffusion_pytorch_model.fp16.safetensors``, and for index files."""
    index = ".index.json" if name.endswith(".index.json") else ""
    stem = name.removesuffix(index).rpartition(".")[0]
    first, dot, variant = stem.partition(".")
    shard = ""
    if "-" in first:
        first, _, rest = first.partition("-")
        shard = f"-{rest}"
    return f"{SAFETENSORS_NAME.get(first, first)}{shard}{dot}{variant}.safetensors{index}"


def _convert_index(path: Path, target: Path) -> None:
    """The index of weights in several files, with the new names of the files."""
    from bdm_core.errors import UserError

    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        index["weight_map"] = {name: safe_name(str(file)) for name, file in index["weight_map"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no index of weights") from None
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _convert_state_dict(source: Path, target: Path, like: Path | None) -> None:
    """Put bare weights into a copy of ``like``, in the place of the component that has the same tensors."""
    from bdm_cli.checkpoint import PICKLED, fit, read_weights, shapes_of, write_weights
    from bdm_core.errors import UserError

    if source.suffix not in PICKLED | {".safetensors"}:
        raise UserError(f"{source} is no checkpoint: expected a folder, an archive, or {' '.join(sorted(PICKLED))}")
    if like is None:
        raise UserError(
            f"{source} holds weights without their architecture: add --like FOLDER, a diffusers folder of the same one"
        )
    _convert_folder(like, target)
    weights = read_weights(source)
    complaint = ""
    for component in sorted(target.rglob("*.safetensors"), key=lambda path: -path.stat().st_size):
        fitted = fit(weights, shapes_of(component))
        if isinstance(fitted, dict):
            component.unlink()
            write_weights(fitted, component)
            return
        complaint = complaint or fitted
    raise UserError(f"{source} does not fit {like}: {complaint}")
