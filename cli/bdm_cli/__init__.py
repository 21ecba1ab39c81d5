"""The command line of bdm: ``bdm run``, ``scan``, ``results``, ``report``, ``plugins`` and ``import``."""
