"""The results of many runs: an index over their records, summaries, statistical comparisons, plots.

``bdm results`` and ``bdm plot`` print and draw what this package computes; in Python start with
:class:`bdm_results.results.Results`. It comes with the distribution ``bdm``; the engines it needs come with the extra
``bdm[results]``.
"""
