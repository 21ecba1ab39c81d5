"""References to models and data: a built-in name, a local folder, or ``hf:org/name@commit``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bdm_core.errors import ArtifactError, UserError, nearest

_HUB = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)(@(?P<commit>.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubReference(NamedTuple):
    """A repository of the Hugging Face Hub at a commit."""

    repository: str
    commit: str


def parse_hub_reference(reference: str) -> HubReference | None:
    """Read ``hf:org/name@commit``; None if the text does not start with ``hf:``.

    Raises:
        UserError: it does, but is malformed or names no full commit. A branch is no commit: it can change.

    >>> parse_hub_reference("hf:google/ddpm-cifar10-32@" + 40 * "0").repository
    'google/ddpm-cifar10-32'
    >>> parse_hub_reference("./my-model") is None
    True
    >>> parse_hub_reference("hf:google/ddpm-cifar10-32@main")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: 'hf:google/ddpm-cifar10-32@main' names no commit: ...
    """
    if not reference.startswith("hf:"):
        return None
    match = _HUB.fullmatch(reference)
    if match is None:
        raise UserError(f"{reference!r} is no reference to the Hub: write hf:org/name@commit")
    if not _COMMIT.fullmatch(match["commit"] or ""):
        raise UserError(f"{reference!r} names no commit: write hf:{match['repository']}@ and the 40 digits of a commit")
    return HubReference(match["repository"], match["commit"])


def fetch_snapshot(hub: HubReference, cache: Path, patterns: Sequence[str], repo_type: str = "model") -> Path:
    """Download the files that match ``patterns`` at the commit into a folder below ``cache``, and return it.

    Raises:
        UserError: huggingface_hub is not installed.
        ArtifactError: the repository, the commit or the network is not there.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils.logging import get_verbosity, set_verbosity, set_verbosity_error
    except ImportError:
        raise UserError("hf: references need huggingface_hub: pip install 'bdm-torch[hub]'") from None
    verbosity = get_verbosity()
    set_verbosity_error()  # it would print every attempt to connect
    try:
        folder = snapshot_download(
            hub.repository,
            revision=hub.commit,
            repo_type=repo_type,
            allow_patterns=list(patterns),
            local_dir=cache / "hub" / hub.repository.replace("/", "--") / hub.commit,
        )
    except Exception as error:  # the hub raises errors of many libraries: HTTP, validation, files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArtifactError(f"cannot fetch hf:{hub.repository}@{hub.commit}: {reason}") from None
    finally:
        set_verbosity(verbosity)
    return Path(folder)


def suggest(reference: str, builtin: Sequence[str]) -> str:
    """What to write instead of an unknown reference.

    >>> suggest("digit", ["digits", "shapes"])
    "did you mean 'digits'? otherwise name a local folder, or hf:org/name@commit"
    """
    known = nearest(reference, builtin, f"built in: {', '.join(builtin)};")
    return f"{known} otherwise name a local folder, or hf:org/name@commit"
