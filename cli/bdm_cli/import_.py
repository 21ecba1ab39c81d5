"""``bdm import``: a foreign checkpoint, read without running its code, as a sealed model of safetensors and JSON."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bdm_cli.console import foreign_code, out, print_json, warn
from bdm_cli.options import Common, Json, Task, takes

if TYPE_CHECKING:
    from torch import Tensor

    from bdm_core.artifacts import Model


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Common):
    """The options of ``bdm import``."""

    checkpoint: Annotated[
        Path,
        typer.Argument(help="Model folder, archive of one, or state dict (.bin .pt .pth .ckpt).", metavar="CHECKPOINT"),
    ]
    out: Annotated[Path, typer.Option("--out", help="New folder for the sealed model.", metavar="DIR")]
    like: Annotated[
        Path | None,
        typer.Option(
            help="Model folder (diffusers or classifier) of the same architecture, for a bare state dict.",
            metavar="DIR",
        ),
    ] = None
    configuration: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="Diffusers folder with the configurations, for a single-file checkpoint of the web interfaces; JSON "
            "file with architecture, classes, size, mean and deviation, for a classifier's state dict.",
            metavar="PATH",
        ),
    ] = None
    task: Task = None
    as_json: Json = False


@takes(ImportOptions)
def import_checkpoint(options: ImportOptions) -> None:
    """Turn a checkpoint into safetensors and JSON that bdm scan and bdm run open.

    Pickles are read with weights_only=True: one that needs code to be loaded is refused. Code files are left out. The
    result is opened by its task's kit before it is kept.
    """
    source = Source(options.checkpoint, options.like, options.configuration)
    with foreign_code():
        model, opened = convert(source, options.out, task=options.task)
    if not opened:
        warn(f"no kit of the task {model.task} is installed that could open {options.out}: nobody has checked it")
    if options.as_json:
        facts = {"folder": str(options.out), "digest": model.digest, "opened": opened, "files": sorted(model.files)}
        print_json(facts)
        return
    console = out()
    console.print(Text(f"sealed {len(model.files)} files in {options.out}"), soft_wrap=True)
    console.print(Text(f"digest {model.digest}"), soft_wrap=True)
    console.print(Text(f"next   bdm scan {options.out}"), soft_wrap=True)


@dataclass(frozen=True)
class Source:
    """What is to be imported.

    Attributes:
        checkpoint: file, archive or folder.
        like: a folder of the same architecture, for a bare state dict.
        config: a folder with the configurations, for a single-file checkpoint, or one file for a classifier's weights.
    """

    checkpoint: Path
    like: Path | None = None
    config: Path | None = None


def convert(given: Source, out_folder: Path, *, task: str | None) -> tuple[Model, bool]:
    """Convert a checkpoint into a sealed model in a new folder, which appears only when it is complete and opens.

    Args:
        given: the checkpoint.
        out_folder: the new folder.
        task: the model's task; None for the one that an installed kit sees in the result.

    Returns:
        The model, and whether a kit opened it; False if none is installed that could.

    Raises:
        UserError: the checkpoint is missing, damaged, unsafe, or does not fit; the folder exists or cannot be written;
            no installed kit knows the model, and no task was named; or its kit cannot open the result.
    """
    from bdm_cli.archive import extract, is_archive
    from bdm_cli.import_folder import convert_folder
    from bdm_cli.read_back import read_back
    from bdm_core.artifacts import Model
    from bdm_core.errors import UserError
    from bdm_core.files import existing

    checkpoint = given.checkpoint
    if existing(checkpoint) is None:
        raise UserError(f"{checkpoint} does not exist")
    if not checkpoint.is_file() and not checkpoint.is_dir():
        raise UserError(f"{checkpoint} is no plain file: expected a folder, an archive, or a checkpoint")
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
            convert_folder(source, target)
        else:
            _convert_file(source, target, given)
        format = "diffusers" if (target / "model_index.json").is_file() else "classifier"
        model = Model.seal(target, format=format, task=task or _task_of(target, checkpoint))
        opened = read_back(target, model.task, Path(temporary, "opened"), checkpoint)
        target.rename(out_folder)
    return Model.open(out_folder), opened


def _task_of(folder: Path, checkpoint: Path) -> str:
    from bdm_core.discovery.tasks import kits_by_task, tasks_of_model
    from bdm_core.errors import UserError

    found = tasks_of_model(str(folder))
    if len(found) != 1:
        choices = " or ".join(f"--task {task}" for task in found or sorted(kits_by_task())) or "--task TASK"
        raise UserError(f"no installed kit says for sure what task {checkpoint} is for: name it, {choices}")
    return found[0]


def _content(folder: Path, archive: Path) -> Path:
    """The pipeline folder or other model folder, or else the only checkpoint, in an unpacked archive."""
    from bdm_cli.checkpoint import PICKLED
    from bdm_core.discovery.tasks import tasks_of_model
    from bdm_core.errors import UserError
    from bdm_core.files import walk

    every = walk(folder)
    pipelines = [path for path in every if path.name == "model_index.json"]
    if pipelines:
        return min(pipelines, key=lambda path: len(path.parts)).parent
    models = [path.parent for path in every if path.name == "config.json" and tasks_of_model(str(path.parent))]
    if models:
        return min(models, key=lambda path: len(path.parts))
    files = [path for path in every if path.suffix in PICKLED | {".safetensors"}]
    if len(files) == 1:
        return files[0]
    raise UserError(f"{archive} holds no model folder (model_index.json, config.json) and no single checkpoint file")


def _convert_file(source: Path, target: Path, given: Source) -> None:
    """One file: a whole checkpoint of the web interfaces by its kit, bare weights by a folder of their architecture."""
    from bdm_cli.checkpoint import PICKLED, read_weights
    from bdm_cli.weights_kind import SINGLE_FILE, kind_of_file, kind_of_weights
    from bdm_core.errors import UserError

    if source.suffix not in PICKLED | {".safetensors"}:
        is_what = kind_of_file(source) or "no checkpoint"
        raise UserError(f"{source} is {is_what}: expected a folder, an archive, or {' '.join(sorted(PICKLED))}")
    weights = read_weights(source)
    kind = kind_of_weights(weights)
    if kind == SINGLE_FILE:
        _convert_single_file(source, weights, target, given.config or given.like)
    elif kind is not None:
        raise UserError(f"{source} is {kind}")
    elif given.config is not None:
        if not _ask_kits(source, weights, target, given.config):
            raise UserError(
                f"{source}: no installed kit knows a network with tensors such as {sorted(weights)[0]!r} that "
                "--config could be for"
            )
    elif given.like is None:
        raise UserError(
            f"{source} holds weights without their architecture: add --like FOLDER, a model folder of the same "
            "one, or for a published classifier's, --config FILE"
        )
    else:
        _convert_state_dict(source, weights, target, given.like)


def _convert_single_file(source: Path, weights: dict[str, Tensor], target: Path, config: Path | None) -> None:
    """Let the kit that knows the names in a single-file checkpoint write the model."""
    from bdm_core.errors import UserError

    if config is None:
        raise UserError(
            f"{source} is a single-file checkpoint of the web interfaces, without its configuration: add --config "
            "FOLDER, a diffusers folder of the same kind of model (model_index.json, configurations and tokenizer; its "
            "weights are not read)"
        )
    if not config.is_dir():
        raise UserError(f"--config {config} is no folder")
    if not _ask_kits(source, weights, target, config):
        raise UserError(f"{source} is a single-file checkpoint of the web interfaces, and no installed kit converts it")


def _ask_kits(source: Path, weights: dict[str, Tensor], target: Path, config: Path) -> bool:
    """Whether a kit knew the names of the weights and wrote the model."""
    from bdm_cli.checkpoint import write_weights
    from bdm_core.discovery.tasks import kits
    from bdm_core.errors import UserError
    from bdm_core.files import existing
    from bdm_core.machine.foreign import asked

    if existing(config) is None:
        raise UserError(f"--config {config} does not exist")
    plain = target.with_name("single-file.safetensors")
    write_weights(weights, plain)
    try:
        for kit in kits():
            with asked(f"kit {kit.name!r} cannot convert {source}"):
                if kit.from_single_file(plain, config, target):
                    return True
    except UserError as error:
        raise UserError(str(error).replace(str(plain), str(source))) from error
    return False


def _convert_state_dict(source: Path, weights: dict[str, Tensor], target: Path, like: Path) -> None:
    """Put bare weights into a copy of ``like``, in the place of the component that has the same tensors."""
    from bdm_cli.checkpoint import fit, shapes_of, write_weights
    from bdm_cli.import_folder import convert_folder, copy_folder
    from bdm_core.errors import UserError

    classifier = not (like / "model_index.json").is_file() and (like / "config.json").is_file()
    (copy_folder if classifier else convert_folder)(like, target)
    complaint = ""
    for component in sorted(target.rglob("*.safetensors"), key=lambda path: -path.stat().st_size):
        fitted = fit(weights, shapes_of(component))
        if isinstance(fitted, dict):
            component.unlink()
            write_weights(fitted, component)
            return
        complaint = complaint or fitted
    raise UserError(f"{source} does not fit {like}: {complaint}")
