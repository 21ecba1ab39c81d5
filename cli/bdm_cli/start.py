"""Where the program ``bdm`` begins. Ctrl-C ends it quietly while its modules are still being imported."""

import signal


def main() -> None:
    """Run the command line, see :func:`bdm_cli.main.main`."""
    waiting = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if waiting:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from bdm_cli.main import main as command_line

    if waiting:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line()
