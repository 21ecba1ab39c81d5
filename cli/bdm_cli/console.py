"""What every command prints with: tables on standard output, messages on standard error; nothing a stranger wrote
reaches the terminal as a command to it, and no encoding costs a result."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import json
import os
import shlex
import sys
import traceback
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

ASCII = {
    "±": "+-",
    "↑": "^",
    "↓": "v",
    "─": "-",
    "━": "-",
    "…": "...",
    "–": "-",
    "—": "-",
    "“": '"',
    "”": '"',
    "’": "'",
}
"""What stands for a character where the output cannot show it; others lose their accents, or become ``?``."""
LONGEST_LINE = 4000
"""Characters of one message on the terminal."""
STEERING = frozenset(range(0x20)) | frozenset(range(0x7F, 0xA0)) | {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Code points that a terminal obeys instead of showing them: control characters, and those that turn text around."""


class _Printable(Console):
    """A console that shows control characters as ``\\x1b`` and the like."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of something to print."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def out() -> Console:
    """The console for results: standard output, as wide as the terminal (80 columns without one)."""
    return _Printable(highlight=False)


def print_lines(lines: Iterable[Text]) -> None:
    """Lines that were made to fit, on standard output; all at once, which for thousands is much quicker."""
    console = out()
    if console.is_terminal:
        console.print(Text("\n").join(lines), soft_wrap=True)
    else:
        sys.stdout.write("".join(f"{printable(text.plain)}\n" for text in lines))


def printable(text: str) -> str:
    """A text with every character that a terminal would obey written out; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(
        character if character == "\n" or ord(character) not in STEERING else _escaped(character) for character in text
    )


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def say(message: str) -> None:
    """One line on standard error, without credentials. A half-drawn progress line of the terminal is cleared first."""
    from bdm_core.machine.redaction import redact

    with contextlib.suppress(OSError):  # standard error is closed or full: the result still counts
        _open_errors(sys.stderr)
        clear = "\r\x1b[2K" if sys.stderr.isatty() else ""
        print(clear + printable(redact(message)), file=sys.stderr, flush=True)


def _open_errors(stream: Any) -> None:
    """Make a stream standard error, or a new one if it was closed or taken away."""
    closed = stream is None or getattr(stream, "closed", False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", closefd=False) if closed else stream  # noqa: SIM115


def warn(message: str) -> None:
    """One ``warning:`` line on standard error."""
    say(f"warning: {one_line(message)}")


def warn_of(messages: list[str]) -> None:
    """A ``warning:`` line for each message."""
    for message in messages:
        warn(message)


def one_line(message: str) -> str:
    """A message without line breaks, and of what nobody reads to its end the beginning."""
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}… ({len(line):,} characters)"


def show_traceback(error: BaseException) -> None:
    """Print an error's traceback on standard error."""
    say("".join(traceback.format_exception(error)).rstrip())


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, indent=2))


def command_line() -> str:
    """The command as given, quoted for a shell, with what looks like a credential hidden."""
    from bdm_core.machine.redaction import redact

    return "bdm " + redact(shlex.join(redact(argument) for argument in sys.argv[1:]))


@contextlib.contextmanager
def foreign_code() -> Iterator[None]:
    """While this is open, what plugins print goes to standard error, also from libraries and child processes.

    Standard output is kept for the result, so that ``--json`` stays one document. What plugins do to the two streams,
    and to the depth of recursion is undone afterwards.
    """
    sys.stdout.flush()
    errors, depth, form = sys.stderr, sys.getrecursionlimit(), warnings.formatwarning
    warnings.formatwarning = lambda *arguments, **more: printable(form(*arguments, **more))
    try:
        kept = os.dup(1)
    except OSError:  # standard output is closed
        kept = None
    try:
        if kept is not None:
            with contextlib.suppress(OSError):
                os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.setrecursionlimit(depth)
        warnings.formatwarning = form
        _open_errors(errors)
        sys.stderr.flush()
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """While this is open, standard output is bdm's alone, and afterwards nothing follows the result on it.

    ``sys.stdout`` writes to a copy of descriptor 1, which itself leads to standard error: what threads, libraries and
    children of plugins print at any time is no part of the result. A stream that was closed before the start is the
    null device.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number, which is this one
    _open_errors(sys.stderr)
    old = sys.stdout
    encoding, by_line = getattr(old, "encoding", "utf-8"), bool(getattr(old, "line_buffering", False))
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding=encoding, line_buffering=by_line)
    os.dup2(2, 1)
    failed, code = None, 0
    try:
        yield
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        raise
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:
            failed = error
        sys.stdout = sys.stderr
        if failed is not None:  # what is left in the buffer is not tried again
            if failed.errno != errno.EPIPE and not code:
                print(f"error: cannot write the result: {failed.strerror}", file=sys.stderr, flush=True)
            os._exit(code or 1)


def prepare_terminal() -> None:
    """Let nothing about the terminal cost a result: a width of 0 is 80, and what an encoding lacks is replaced."""
    columns = os.environ.get("COLUMNS")
    if columns is not None and not (columns.isdecimal() and int(columns) > 0):
        os.environ["COLUMNS"] = "80"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="bdm-printable")


def _replacement(error: UnicodeError) -> tuple[str, int]:
    """The codec error handler ``bdm-printable``: an ASCII equivalent for what an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = ""
    for character in error.object[error.start : error.end]:
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        code = ord(character)
        found += ASCII.get(character) or plain or (f"\\x{code & 0xFF:02x}" if 0xDC80 <= code <= 0xDCFF else "?")
    return found, error.end


codecs.register_error("bdm-printable", _replacement)
