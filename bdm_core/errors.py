"""The errors that a user sees as one line.

Everything that is expected to go wrong derives from :class:`BdmError`. The CLI prints its message after ``error:`` and
exits with :attr:`BdmError.exit_code`; any other exception is a defect and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class BdmError(Exception):
    """An expected failure. The message is one line: what was wrong, where, what to do."""

    exit_code = 1


class UserError(BdmError):
    """The input was wrong: an unknown name, a bad parameter, a folder that is no model. Exit code 2.

    >>> error = UserError("no model at ./mine: name a folder, or a built-in model")
    >>> error.exit_code, isinstance(error, BdmError)
    (2, True)
    """

    exit_code = 2


class ArtifactError(UserError):
    """An artifact on disk is not what its manifest says, or may not be opened."""


class PluginError(UserError):
    """A plugin cannot be found, imported or used."""


class StoreError(UserError):
    """The store cannot be written: no space left, no permission, or a run folder that another process holds."""


class StageError(BdmError):
    """A stage of a run failed inside a plugin. Exit code 1."""


def nearest(wrong: str, known: Iterable[str], otherwise: str, *, cutoff: float = 0.6) -> str:
    """The question whether the user meant the known name that is most like a wrong one.

    Args:
        wrong: what was given.
        known: the names that there are.
        otherwise: what to say if none is like it.
        cutoff: how alike, in [0, 1], see :func:`difflib.get_close_matches`.

    >>> nearest("glases", ["box", "glasses"], "choose one of box, glasses")
    "did you mean 'glasses'?"
    >>> nearest("sine", ["box", "glasses"], "choose one of box, glasses")
    'choose one of box, glasses'
    """
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}?" if near else otherwise
