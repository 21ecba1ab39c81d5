"""One name of data, one set of rows: numbers on different rows are not averaged or compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bdm_core.errors import UserError
from bdm_results.expressions import Condition

if TYPE_CHECKING:
    from bdm_results.results import Results
    from bdm_results.view import RunView

FINGERPRINT = "data:rows.fingerprint"
"""The parameter of a run that says which rows its data were, where their name alone does not."""


def fingerprint_of(view: RunView) -> dict[str, Any]:
    """:data:`FINGERPRINT` of a run, whose kit keeps the figure ``fingerprint`` where rows depend on what is installed;
    {} of other runs. Its first word is the hash, and the rest says of which versions the rows came."""
    for stage in view.stages:
        found = stage.get("figures", {}).get("fingerprint")
        if stage.get("stage") == "open-data" and isinstance(found, str):
            return {FINGERPRINT: found.partition(" ")[0]}
    return {}


def require_same_data(results: Results, chosen: str, source: Condition) -> None:
    """Refuse numbers whose data have one name and several fingerprints.

    Args:
        results: where from.
        chosen: the runs that count, as the beginning of a query.
        source: which numbers, see :meth:`bdm_results.results.Results.numbers`.

    Raises:
        UserError: there are such, and how to choose.
    """
    rows = results.ask(
        f"{chosen} SELECT c.data, list(DISTINCT p.text ORDER BY p.text)"
        f" FROM (SELECT DISTINCT r.cell AS cell, r.data AS data {source.sql}) c JOIN parameters p ON p.cell = c.cell"
        f" WHERE p.name = '{FINGERPRINT}' GROUP BY c.data HAVING count(DISTINCT p.text) > 1",
        source.values,
    )
    for data, found in rows:
        raise UserError(
            f"{data} stands for different rows in these runs, of the fingerprints {', '.join(found)}: choose one, e.g. "
            f"--where \"{FINGERPRINT} = '{found[0]}'\""
        )
