"""Whether what ``illustrate`` answers can be drawn."""

from __future__ import annotations

import math

from bdm_core.artifacts import Artifact
from bdm_core.figures import Arrays, Audio, Curves, Pictures
from bdm_core.testing.tiny import Call


def complaints(call: Call, artifact: Artifact) -> list[str]:
    """What is wrong with the figures of an artifact, a sentence each.

    Args:
        call: the call of ``illustrate``.
        artifact: what it was asked to show.
    """
    found = [f"it wrote {name} outside ctx.out" for name in call.strays]
    found += [f"it changed its input {name}" for name in call.altered]
    found += [f"it opened {name}, which it was not given" for name in call.snooped]
    homes = [call.ctx.out.resolve(), artifact.path.resolve()]
    for figure in call.value or []:
        if isinstance(figure, Pictures | Audio):
            if len(figure.labels) not in (0, len(figure.files)):
                found.append(f"{len(figure.labels)} labels for {len(figure.files)} files")
            for file in figure.files:
                if not file.is_file():
                    found.append(f"{file} is no file")
                elif not any(file.resolve().is_relative_to(home) for home in homes):
                    found.append(f"{file} lies neither in the artifact nor in ctx.out")
        elif isinstance(figure, Arrays):
            odd = [name for name, values in figure.values.items() if len(values) != math.prod(figure.shape)]
            found += [f"array {name!r} is not of shape {figure.shape}" for name in odd]
        elif isinstance(figure, Curves):
            found += [f"curve {name!r} has no values" for name, values in figure.curves.items() if not values]
    return found
