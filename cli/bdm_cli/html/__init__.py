"""``report.html``: one self-contained page about a run."""

from bdm_cli.html.page import render

__all__ = ["render"]
