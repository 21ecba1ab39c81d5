"""``python -m bdm_cli`` is ``bdm``."""

from bdm_cli.main import main

main()
