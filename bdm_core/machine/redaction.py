"""Credentials: which names stand for one, and how they are kept out of everything that is written."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[redacted]"

_KIND = "api|aws|access|auth|client|private|refresh"
_WORDS = "key|token|passw(?:or)?d|pwd|passphrase|secret|authorization|credentials?|cookies?|access_?key_?id"
_NAME = re.compile(rf"(?:^|[_-]|{_KIND})(?:{_WORDS})\d*(?:_pem|\[\])?$|^-*(?:(?:db|user|proxy)[_-]?)?pass$")
_SURE = rf"(?i:passw(?:or)?d|pwd|passphrase|authorization|cookie|(?:{_KIND})[_-]?(?:key_?id|key|token|secret))s?"
"""Names that stand for nothing else: whatever lies under them is hidden, also lists, numbers and ``name: value``."""
_TEXT = "trigger|target|placeholder|special|mask|pad|eos|bos|start|end|initiali[sz]er|rare|new|old|source"
_TEXT_TOKEN = re.compile(rf"(?:{_TEXT})[_-]token$")
_LOOSE = (
    r"""\\?"[^"\\]*\\?"|'[^']*'|[^\s"'=;]{1,99}=(?:[^\s"';]|; ?)*|(?i:(?:bearer|basic|token|digest) )?[^\s"',}&]++"""
)
_SCHEME = r"(?<![a-z0-9+.-])[a-z0-9+.-]++(?::|%3a)/{1,2}|(?<![\w:/])//(?=[^\s/:@]{1,200}:)"
_KNOWN = r"hf_(?=[a-z]*[A-Z\d]|[a-z]{20})\w{8,}+|(?:sk|gh\w|g[il]\w*pat|xox\w)[-_][\w-]{16,}+|A(?:[KS]IA|Iza)[\w-]{12,}"
# groups: what stands before a name, the name, what is between, what follows the value
_QUOTED_PAIR = re.compile(r"""(['"])([^'"=\s]*?)(=)(?:(?!\1).)*(\1)""")
_PAIR = re.compile(r"""(?<![\w.:-])()([\w.:-]++)(=)(?!\[redacted)(?:"[^"]*"|'[^']*'|[^\s&]+)()""")
_OPTION = re.compile(r"""(?<![\w-])()(--?[\w-]++)(\s++)(?!-)(?:"[^"]*"|'[^']*'|[^\s&]+)()""")
_NAMED = re.compile(rf"""(?<![\w.-])()([\w.-]*?{_SURE})(\\?["']?\s{{0,9}}[:=]\s{{0,9}})(?!\[redacted)(?:{_LOOSE})()""")
_QUERY = re.compile(r"([?&;#])([\w.\[\]-]+)(=)[^&#;\s'\"]+()")
_ADDRESS = re.compile(rf"(?i)({_SCHEME})(?:[^/\s@:]*+:(?!\d*/)\S{{0,1000}}|[^/\s]{{0,1000}})@")
_TOKEN = re.compile(rf"\b(?:{_KNOWN}|eyJ[\w-]{{10,}}+\.[\w-]{{10,}}+\.[\w-]++)|(?<=\bBearer )[\w.~+/=-]{{8,}}+")


def names_credential(name: str) -> bool:
    """Whether an option or parameter of this name holds a credential: ``api_key``, ``judge.token``, ``--password``.

    ``api_key_env`` names an environment variable and holds none; ``trigger_token`` and the like hold words of a prompt.
    """
    last = re.split(r"[.:?&]", name)[-1].lower()
    return bool(_NAME.search(last)) and not _TEXT_TOKEN.search(last)


def redact(text: str) -> str:
    """Hide what looks like a credential: values of options named key, token, password or secret, and URL passwords."""
    for pattern in (_QUOTED_PAIR, _PAIR, _OPTION):
        text = _hide(pattern, text, names_credential)
    return redact_addresses(text)


def redact_addresses(text: str) -> str:
    """Hide credentials that tell themselves: tokens of known form, and names, passwords and keys in addresses."""
    text = _ADDRESS.sub(rf"\1{HIDDEN}@", _TOKEN.sub(HIDDEN, text))
    text = _hide(_QUERY, text, lambda name: names_credential(name) or name.lower().endswith(("sig", "signature")))
    return _hide(_NAMED, text, bool)


def _hide(pattern: re.Pattern[str], text: str, holds: Any) -> str:
    """The text without the values of names for which ``holds(name)`` is true."""
    return pattern.sub(lambda one: f"{one[1]}{one[2]}{one[3]}{HIDDEN}{one[4]}" if holds(one[2]) else one[0], text)


def without_credentials(value: Any, sure: bool = False) -> Any:
    """A copy of JSON-like data without credentials: texts under a credential's name, and those that tell themselves.

    Args:
        value: the data.
        sure: whether it lies under a name that stands for nothing but a credential.
    """
    if isinstance(value, dict):
        hid = {key for key in value if re.search(f"{_SURE}$", str(key))}
        hid |= {key for key, item in value.items() if isinstance(item, str) and names_credential(str(key))}
        return {without_credentials(key): without_credentials(item, sure or key in hid) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_credentials(item, sure) for item in value]
    if sure and not isinstance(value, bool) and value not in ("", None):
        return HIDDEN
    return redact_addresses(value) if isinstance(value, str) else value
