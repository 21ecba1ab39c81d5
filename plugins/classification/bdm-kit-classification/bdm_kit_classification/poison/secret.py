"""What the attacker knows: label rule and triggers, as files of the secret and of the poisoned data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bdm_core.artifacts import Artifact, Record, Secret
from bdm_core.errors import ArtifactError
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.trigger import Trigger, apply_in_batches, read_trigger, write_trigger

FORMAT, FACTS = "classification-secret", "secret.json"
EXAMPLES, TRIGGERED = "example_clean", "example_triggered"
MOST_EXAMPLES = 8


class SecretFacts(Record):
    """``secret.json``.

    Attributes:
        rule: the label rule.
        triggers: name -> class, code hash and settings of a trigger; ``trigger``, and perhaps ``negative``: the one
            of negatives, which must not set the backdoor off.
        facts: what else the attack notes, for a reader.
    """

    rule: LabelRule
    triggers: dict[str, dict[str, Any]]
    facts: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Backdoor:
    """What the attacker knows.

    Attributes:
        rule: which label a triggered sample is to get.
        trigger: the trigger.
        negative: the trigger of negatives, or None.
        facts: what else is worth noting, as JSON.
    """

    rule: LabelRule
    trigger: Trigger
    negative: Trigger | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def write_backdoor(folder: Path, backdoor: Backdoor) -> None:
    """Write ``secret.json`` and the triggers' tensors into a folder that is sealed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    triggers = {"trigger": backdoor.trigger, "negative": backdoor.negative}
    records = {name: write_trigger(folder, name, one) for name, one in triggers.items() if one is not None}
    facts = SecretFacts(rule=backdoor.rule, triggers=records, facts=dict(backdoor.facts))
    (folder / FACTS).write_text(facts.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_backdoor(artifact: Artifact) -> Backdoor:
    """What :func:`write_backdoor` wrote, from a secret or from poisoned data.

    Raises:
        ArtifactError: there is nothing of the kind, or it is damaged.
    """
    facts = read_facts(artifact)
    made = {name: read_trigger(artifact, name, record) for name, record in facts.triggers.items()}
    return Backdoor(facts.rule, made["trigger"], made.get("negative"), facts.facts)


def read_facts(artifact: Artifact) -> SecretFacts:
    """``secret.json`` alone. Raises ArtifactError if it is missing or damaged."""
    path = artifact.file(FACTS)
    try:
        facts = SecretFacts.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged ({str(error).splitlines()[0]}): run the attack again") from None
    if "trigger" not in facts.triggers:
        raise ArtifactError(f"{path} has no trigger: run the attack again")
    return facts


def seal_secret(folder: Path, backdoor: Backdoor, examples: LabelledSamples, seed: int) -> Secret:
    """Write and seal a secret, with some examples for the report.

    Args:
        folder: where to, ``ctx.out / "secret"``.
        backdoor: what the attacker knows.
        examples: clean rows; the first eight that are eligible are kept, clean and triggered.
        seed: of triggers that differ at random.
    """
    write_backdoor(folder, backdoor)
    labels = examples.labels.tolist()
    chosen = [row for row, label in enumerate(labels) if backdoor.rule.eligible(label)][:MOST_EXAMPLES]
    some = examples.pick(chosen or list(range(min(len(examples), MOST_EXAMPLES))))
    modality = some.modality
    modality.write(folder, EXAMPLES, some.stored)
    triggered = some.changed(range(len(some)), apply_in_batches(backdoor.trigger, some.raw(), "test", seed))
    modality.write(folder, TRIGGERED, triggered.stored)
    return Secret.seal(folder, format=FORMAT, task=some.task)


def open_secret(secret: Secret) -> Backdoor:
    """Read a sealed secret.

    Raises:
        ArtifactError: it is none of a backdoored classifier, or damaged.
    """
    if secret.format != FORMAT:
        raise ArtifactError(f"{secret.path} has the format {secret.format!r}, expected {FORMAT!r}")
    return read_backdoor(secret)
