"""An attack whose module is not light."""

import sklearn  # noqa: F401 - the rule it breaks; the test puts an empty module of this name on the path
from bdm_toy.attack import ToyAttack


class Heavy(ToyAttack):
    name = "heavy"
