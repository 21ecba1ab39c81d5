"""Credentials: which names stand for one, and how they are kept out of everything that is written."""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "[redacted]"

_NAME = re.compile(
    r"(?:^|[_-]|api|access|auth)(?:key|token|password|passwd|passphrase|secret|authorization|credentials?)\d*$"
)
_TEXT_TOKEN = re.compile(
    r"(?:trigger|target|placeholder|special|mask|pad|eos|bos|start|end|initiali[sz]er|rare|new|old|source)[_-]token$"
)
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s&]+)"""
_QUOTED_PAIR = re.compile(r"""(['"])([^'"=\s]*?)=((?:(?!\1).)*)\1""")
_PAIR = re.compile(rf"(?<![\w.:-])([\w.:-]++)=(?!\[redacted)({_VALUE})")
_ADDRESS = re.compile(r"(?<![a-z0-9+.-])([a-z0-9+.-]++:/{1,2})(?:[^/\s@:]*+:(?!\d*/)\S{0,1000}|[^/\s]{0,1000})@")
_OPTION = re.compile(rf"(?<![\w-])(--?[\w-]++)(\s++)(?!-)({_VALUE})")


def names_credential(name: str) -> bool:
    """Whether an option or parameter of this name holds a credential: ``api_key``, ``judge.token``, ``--password``.

    ``api_key_env`` names an environment variable and holds none; ``trigger_token`` and the like hold words of a prompt.
    """
    last = re.split(r"[.:?&]", name)[-1].lower()
    return bool(_NAME.search(last)) and not _TEXT_TOKEN.search(last)


def redact(text: str) -> str:
    """Hide what looks like a credential: values of options named key, token, password or secret, and URL passwords."""

    def quoted(match: re.Match[str]) -> str:
        quote, name, _ = match.groups()
        return f"{quote}{name}={HIDDEN}{quote}" if names_credential(name) else match.group(0)

    def pair(match: re.Match[str]) -> str:
        return f"{match.group(1)}={HIDDEN}" if names_credential(match.group(1)) else match.group(0)

    def option(match: re.Match[str]) -> str:
        return f"{match.group(1)}{match.group(2)}{HIDDEN}" if names_credential(match.group(1)) else match.group(0)

    return redact_addresses(_OPTION.sub(option, _PAIR.sub(pair, _QUOTED_PAIR.sub(quoted, text))))


def redact_addresses(text: str) -> str:
    """Hide credentials that tell themselves: tokens of known form, and names, passwords and keys in addresses."""

    def query(match: re.Match[str]) -> str:
        return f"{match[1]}{HIDDEN}" if names_credential(match[1].rstrip("=")) else match[0]

    text = re.sub(r"\b(hf|sk)[-_][A-Za-z0-9_-]{16,}+", HIDDEN, text)
    text = re.sub(_ADDRESS, rf"\1{HIDDEN}@", text)
    return re.sub(r"([?&][\w.-]+=)([^&#\s]+)", query, text) if ":/" in text else text


def without_credentials(value: Any) -> Any:
    """A copy of JSON-like data without credentials: texts under a credential's name, and those that tell themselves."""
    if isinstance(value, str):
        return redact_addresses(value)
    if isinstance(value, dict):
        return {
            key: HIDDEN if isinstance(item, str) and item and names_credential(str(key)) else without_credentials(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_credentials(item) for item in value]
    return value
