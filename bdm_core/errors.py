"""The errors that a user sees as one line.

Everything that is expected to go wrong derives from :class:`BdmError`. The CLI prints its message after ``error:`` and
exits with :attr:`BdmError.exit_code`; any other exception is a defect and keeps its traceback.
"""


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
