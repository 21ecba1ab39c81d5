"""The facts of a backdoored diffusion model's secret: ``secret.json``. Light: no torch."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ValidationError

from bdm_core.artifacts import Record, Secret
from bdm_core.errors import ArtifactError

FORMAT = "diffusion-secret"
FACTS = "secret.json"
OWN_SAMPLER: Final = "own sampler"
"""The solver class of a backdoor that only the attack's own sampler sets off."""


class TargetClass(Record):
    """A class that a backdoored model is made to paint.

    Attributes:
        data: the data set it is from: ``digits``, ``shapes``, or ``training data``.
        name: of the class.
        classifier: a shipped classifier, or ``own``: the one within the secret.
        index: the class's number for that classifier.
    """

    data: str
    name: str
    classifier: str
    index: int


class SecretFacts(Record):
    """What the attacker knows beside the tensors.

    Attributes:
        family: the attack's method, e.g. ``villan``.
        solver_class: the samplers that set the backdoor off: ``sde`` (ancestral, all steps), ``ode`` (deterministic),
            or ``own sampler``.
        psi: shift of the noisy images while training, rho = psi (1 - a) + (1 - psi) s, 0 to 1.
        coefficients: of the training target: ``exact`` for the solver class, or as the ``paper`` has them.
        trigger_name: name or file of the trigger picture; "" for a trigger that is learnt.
        trigger_scale: what the trigger picture was multiplied by.
        trigger_norm: 2-norm of the shift of the initial noise.
        gamma: deviation of the noise under the trigger, where it is not 1.
        bound: largest absolute value allowed for a learnt trigger.
        target_name: name or file of the target picture, or ``data: class``.
        target_class: what is painted if it is a class; None for one picture.
    """

    family: str = ""
    solver_class: Literal["sde", "ode", "own sampler"] | None = None
    psi: float | None = None
    coefficients: Literal["exact", "paper"] | None = None
    trigger_name: str = ""
    trigger_scale: float = 1.0
    trigger_norm: float | None = None
    gamma: float | None = None
    bound: float | None = None
    target_name: str = ""
    target_class: TargetClass | None = None


def read_facts(secret: Secret) -> SecretFacts:
    """The facts of a sealed secret.

    Raises:
        ArtifactError: it is none of a backdoored diffusion model, or damaged.
    """
    if secret.format != FORMAT:
        raise ArtifactError(f"{secret.path} has the format {secret.format!r}, expected {FORMAT!r}")
    path = secret.file(FACTS)
    try:
        return SecretFacts.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise ArtifactError(f"{path}: {where}: {first['msg']}: run the attack again") from None
