"""``python -m bdm_cli`` is ``bdm``."""

from bdm_cli.start import main

main()
