"""The calibration of a one-class detector as a file.

A detector of models ships ``calibration.json``: its features of clean models, the configuration that they were found
with, and how they were made. ``bdm calibrate DEFENSE`` writes another one by :meth:`Calibrated.write`. A file for a
detector that can also learn from backdoored models may hold such, with a label.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue, ValidationError

from bdm_core.artifacts import Record
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_core.plugin import Params


class ModelRecord(Record):
    """One known model.

    Attributes:
        name: free text.
        shape: of what its network works on, (C, H, W) of images; () of texts.
        features: the detector's, in its order.
        backdoored: False for a clean model.
        traits: what else tells kinds of models apart, in words, as the kit names them.
    """

    name: str
    shape: tuple[int, ...]
    features: list[float]
    backdoored: bool = False
    traits: dict[str, str] = {}


class Calibration(Record):
    """Features of clean models, and for some detectors of backdoored ones.

    >>> records = [ModelRecord(name="mine", shape=(1, 8, 8), features=[0.25])]
    >>> known = Calibration(recipe="by hand", configuration={"steps": 50}, records=records)
    >>> known.column(), len(known.fingerprint())
    ([0.25], 64)
    """

    schema_version: Literal[1] = 1
    recipe: str
    configuration: dict[str, JsonValue]
    records: list[ModelRecord]

    def clean(self) -> list[list[float]]:
        """The features of each clean model."""
        return [record.features for record in self.records if not record.backdoored]

    def column(self, index: int = 0) -> list[float]:
        """One feature of all clean models."""
        return [features[index] for features in self.clean()]

    def outside(self, shape: Sequence[int], traits: Mapping[str, str]) -> str:
        """Why no known clean model is like a model of this shape and these traits; "" if one is.

        What a record says nothing about (a file older than traits) is not held against a model.

        >>> records = [ModelRecord(name="mine", shape=(1, 8, 8), features=[0.25], traits={"noise": "exploding"})]
        >>> known = Calibration(recipe="by hand", configuration={}, records=records)
        >>> known.outside((1, 8, 8), {"noise": "exploding"})
        ''
        >>> known.outside((3, 8, 8), {"noise": "exploding"})
        'its calibration covers models of 1x8x8 (exploding), and this one is of 3x8x8 (exploding)'
        """

        def words(shape: Sequence[int], traits: Mapping[str, str]) -> str:
            return "x".join(map(str, shape)) + (f" ({', '.join(traits.values())})" if traits else "")

        known = [record for record in self.records if not record.backdoored]
        for record in known:
            same = all(record.traits.get(key, value) == value for key, value in traits.items())
            if same and tuple(record.shape) == tuple(shape):
                return ""
        covered = sorted({words(record.shape, record.traits) for record in known})
        return f"its calibration covers models of {', '.join(covered)}, and this one is of {words(shape, traits)}"

    def fingerprint(self) -> str:
        """SHA-256, for the evidence."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Known:
    """A model of known kind, to calibrate with.

    Attributes:
        name: for the record, the reference by which it was named.
        model: as a kit opens it; it has ``shape``, see :class:`ModelRecord`.
        backdoored: False for a clean model.
        traits: see :class:`ModelRecord`.
    """

    name: str
    model: Any
    backdoored: bool = False
    traits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibrated:
    """A detector that has a calibration; the features depend on the parameters that are marked ``calibrated``.

    Attributes:
        name: of the defense.
        package: that has the shipped file in it.
        features: how many there are.
        labelled: whether it can also learn from backdoored models; without it a file with such is refused.
        file: name of the one that is shipped.

    >>> detector = Calibrated(name="mine", package="bdm_torch")
    >>> detector.read("nowhere.json")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: cannot read the calibration nowhere.json: No such file or directory
    """

    name: str
    package: str
    features: int = 1
    labelled: bool = False
    file: str = "calibration.json"

    @property
    def shipped(self) -> Path:
        """The calibration that comes with the detector."""
        module = sys.modules[self.package]
        assert module.__file__ is not None
        return Path(module.__file__).with_name(self.file)

    def configuration(self, params: Params) -> dict[str, JsonValue]:
        """The parameters that the features depend on, as JSON."""
        values = params.model_dump(mode="json")
        return {key: values[key] for key in params.calibrated_fields()}

    def read(self, path: str | Path = "") -> Calibration:
        """Read a calibration file; "" is the one shipped. Raises UserError if it is none."""
        place = existing(str(path)) or Path(path) if path else self.shipped
        try:
            known = Calibration.model_validate_json(place.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"cannot read the calibration {place}: {error.strerror}") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "file"
            raise UserError(f"{place} is no calibration of {self.name}: {where}: {first['msg']}") from None
        except ValueError:
            raise UserError(f"{place} is no calibration of {self.name}: it is no UTF-8 text") from None
        if any(len(record.features) != self.features for record in known.records):
            raise UserError(f"{place} is no calibration of {self.name}: it needs {self.features} features a model")
        if not self.labelled and any(record.backdoored for record in known.records):
            raise UserError(f"{place} is no calibration of {self.name}: it takes clean models only")
        return known

    def other_settings(
        self, params: Params, known: Calibration, also: Sequence[str] = (), ignored: Sequence[str] = ()
    ) -> str:
        """Why a calibration says nothing of what is found with these parameters; "" if it was made with them.

        Only those count that the features depend on. The sentence names them, and how a fitting file is made; ``also``
        names parameters that making it needs beside those, ``ignored`` those that this detection makes no use of.

        >>> from bdm_core.plugin import Field
        >>> class MineParams(Params):
        ...     steps: int = Field(50, description="Of the search.", calibrated=True)
        ...     rate: float = Field(0.01, description="Of the decision.")
        >>> detector = Calibrated(name="mine", package="bdm_torch")
        >>> known = Calibration(recipe="by hand", configuration={"steps": 50}, records=[])
        >>> detector.other_settings(MineParams(rate=0.05), known)
        ''
        >>> print(*detector.other_settings(MineParams(steps=7), known).split(", "), sep="\\n")
        cannot tell: its calibration was made with other settings (steps); calibrate with these
        `bdm calibrate mine --set defense:mine.steps=7 --model ... --out FILE`
        and use it by --set defense:mine.calibration=FILE
        """
        mine = self.configuration(params)
        made_with = known.configuration
        other = [key for key in mine if key not in ignored and (key not in made_with or made_with[key] != mine[key])]
        if not other:
            return ""
        values = params.model_dump(mode="json")
        named = [*other, *(key for key in also if values[key])]
        given = [f"--set {shlex.quote(f'defense:{self.name}.{key}={json.dumps(values[key])}')}" for key in named]
        return (
            f"cannot tell: its calibration was made with other settings ({', '.join(other)}); calibrate with these, "
            f"`bdm calibrate {self.name} {' '.join(given)} --model ... --out FILE`, and use it by "
            f"--set defense:{self.name}.calibration=FILE"
        )

    def write(
        self,
        ctx: Context,
        params: Params,
        models: Iterable[Known],
        out: Path,
        features_of: Callable[[Context, Any], list[float]],
    ) -> None:
        """Examine known models and write their features, for ``Defense.calibrate``.

        Args:
            ctx: model i is examined with the seed ``ctx.seed + i`` and with folders of its own below ``ctx.work``.
            params: the defense's parameters.
            models: the models; each may be opened only when its turn comes.
            out: the file.
            features_of: (context, model) -> the features.
        """
        records = []
        for index, known in enumerate(models):
            folder = ctx.work / f"{index:04d}"
            own = replace(ctx, out=folder / "out", work=folder / "work", seed=ctx.seed + index)
            for place in (own.out, own.work):
                place.mkdir(parents=True)
            found = features_of(own, known.model)
            shape = tuple(known.model.shape)
            about: dict[str, Any] = {"name": known.name, "shape": shape, "backdoored": known.backdoored}
            records.append(ModelRecord(features=found, traits=dict(known.traits), **about))
            kind = "backdoored" if known.backdoored else "clean"
            ctx.log.info("%-10s %-40s %s", kind, known.name, " ".join(f"{value:.4f}" for value in found))
        recipe = f"bdm calibrate {self.name}, models examined with seeds from {ctx.seed}"
        file = Calibration(recipe=recipe, configuration=self.configuration(params), records=records)
        out.write_text(file.model_dump_json(indent=1) + "\n", encoding="utf-8")
