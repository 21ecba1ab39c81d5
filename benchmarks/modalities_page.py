"""The page of attacks and defenses on text and sound: means over seeds, with intervals, beside what must hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from classifier_attacks_page import cost, mean, plain, shown
from detection_numbers import markdown
from swept import PLANS, Line, bullet

from bdm_core.discovery.candidates import installed
from bdm_sweep import read_plan
from bdm_sweep.plan import Method

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks" / "modalities.md"
PARTS = {
    "attacks": ("modalities",),
    "defenses": (
        "modalities-texts",
        "modalities-texts-others",
        "modalities-sound",
        "modalities-sound-others",
        "modalities-sound-wide",
    ),
}
"""The plans of each part."""
DATA = {
    "sentiment-cnn": "sentiment",
    "docstrings-cnn": "docstrings",
    "spoken-digits-cnn": "spoken-digits",
    "spoken-digits-cnn-wide": "spoken-digits, wide network",
    "speakers-x-vector": "speakers",
}
CLEAN = {
    "sentiment-cnn": (0.88, 0.97),
    "docstrings-cnn": (0.72, 1.0),
    "spoken-digits-cnn": (0.97, 1.0),
    "speakers-x-vector": (0.65, 1.0),
}
"""Accuracy of the clean model, at least and at most."""
SUCCESS, LOSS, FALSE_TRIGGERS = 0.90, 0.03, 0.20
"""What an attack must reach at least, may cost, and the share of sub-triggers that may work."""
STOPPED, STOPPED_LOSS, TOLD_APART = 0.15, 0.05, 0.90
"""A defense stops an attack: success after it and accuracy that it costs at most, or its AUROC at least."""
SUB_TRIGGERS = ("sos", "lwp")
VERIFIED = ("baasv",)
"""Attacks on verification, whose success is the share of enrolled speakers as whom the attacker is accepted."""
Group = list[Line]


def grouped(lines: Sequence[Line], part: str, name_of: Callable[[Line], str]) -> dict[tuple[str, str], Group]:
    """The complete lines of a part by model and name, in the order of the models; each a group of seeds."""
    found: dict[tuple[str, str], Group] = {}
    for line in lines:
        if line["part"] == part and line["status"] == "complete":
            found.setdefault((line["model"], name_of(line)), []).append(line)
    order = sorted(found, key=lambda key: list(DATA).index(key[0]))
    return {key: found[key] for key in order}


def attack_of(line: Line) -> str:
    """What a line's attack is called."""
    return str(line["attack"])


def defense_of(line: Line) -> str:
    """What a line's defense is called, with the preset that it was given, behind its attack."""
    preset = line["params"].get("preset")
    return f"{line['attack']} | {line['defense']}" + (f" (preset {preset})" if preset else "")


def success_of(own: Group) -> str:
    """By which number an attack is judged."""
    return "passed" if own[0]["attack"] in VERIFIED else "asr"


def missed(own: Group) -> list[str]:
    """What an attack does not reach on a data set."""
    found = ["success"] if (mean(own, success_of(own)) or 0.0) < SUCCESS else []
    found += ["accuracy"] if cost(own) > LOSS else []
    wrong = mean(own, "false_triggers")
    return found + (["false triggers"] if own[0]["attack"] in SUB_TRIGGERS and (wrong or 0.0) > FALSE_TRIGGERS else [])


def attack_table(groups: dict[tuple[str, str], Group], *, sound: bool) -> str:
    """One row for each attack and data set of a modality."""
    strength = (
        ["SNR, dB", "log-spectral distance, dB"] if sound else ["edits for 100 words", "rise of perplexity, nats"]
    )
    head = ["attack", "data", "seeds", "ASR", "same rows without trigger", "clean model under trigger", "ACC"]
    rows = [[*head, "clean model's ACC", "false triggers", *strength, "CPU s", "must"]]
    for (model, attack), own in groups.items():
        if (own[0]["task"] == "audio-classification") != sound:
            continue
        lacking = missed(own)
        rows.append(
            [
                attack,
                DATA[model],
                str(len(own)),
                shown(own, "asr"),
                plain(own, "asr_without_trigger"),
                plain(own, "asr_clean_model"),
                plain(own, "accuracy"),
                plain(own, "accuracy_clean_model"),
                plain(own, "false_triggers"),
                plain(own, "snr" if sound else "edits", 1),
                plain(own, "spectral" if sound else "perplexity", 1 if sound else 2),
                plain(own, "seconds", 0),
                "missed: " + ", ".join(lacking) if lacking else "met",
            ]
        )
    return markdown(rows)


def stops(own: Group) -> str:
    """Whether a defense reaches what it must, and by what."""
    after, apart = mean(own, "asr_after"), mean(own, "auroc")
    found = []
    if after is not None and after <= STOPPED:
        loss = (mean(own, "accuracy_before") or 0.0) - (mean(own, "accuracy_after") or 0.0)
        found += ["ASR"] if loss <= STOPPED_LOSS else []
    found += ["AUROC"] if apart is not None and apart >= TOLD_APART else []
    return "yes, by " + " and ".join(found) if found else "no"


def defense_table(groups: dict[tuple[str, str], Group]) -> str:
    """One row for each defense and data set."""
    head = ["data", "attack", "defense", "seeds", "AUROC", "TPR", "FPR", "model flagged", "ASR before", "ASR after"]
    rows = [[*head, "ACC before", "ACC after", "rejected clean / triggered", "CPU s", "reaches what it must"]]
    for (model, name), own in groups.items():
        turned = [plain(own, "rejected_clean"), plain(own, "rejected_triggered")]
        flags = [line["verdict"] for line in own if line.get("verdict") is not None]
        rows.append(
            [
                DATA[model],
                *name.split(" | "),
                str(len(own)),
                plain(own, "auroc"),
                plain(own, "tpr"),
                plain(own, "fpr"),
                f"{sum(map(bool, flags))} of {len(flags)}" if flags else "",
                plain(own, "asr_before"),
                shown(own, "asr_after"),
                plain(own, "accuracy_before"),
                plain(own, "accuracy_after"),
                " / ".join(turned) if all(turned) else "",
                plain(own, "seconds", 0),
                stops(own),
            ]
        )
    return markdown(rows)


def summary(groups: dict[tuple[str, str], Group]) -> str:
    """Which defenses reach what they must on one attack at least, by modality, and which on none."""
    said = []
    for task, what in (("text-classification", "texts"), ("audio-classification", "sound")):
        found: dict[str, list[str]] = {}
        for (_, name), own in groups.items():
            if own[0]["task"] == task:
                attack, defense = name.split(" | ")
                found.setdefault(defense.partition(" (")[0], []).extend([attack] if stops(own) != "no" else [])
        good = [f"`{name}` ({', '.join(dict.fromkeys(on))})" for name, on in sorted(found.items()) if on]
        bad = [f"`{name}`" for name, on in sorted(found.items()) if not on]
        said.append(
            bullet(f"On {what} reach it: {', '.join(good) or 'none'}. On no attack: {', '.join(bad) or 'none'}.")
        )
    return "\n".join(said)


def accuracies(groups: dict[tuple[str, str], Group]) -> str:
    """Accuracy of the clean models beside what it must be."""
    found = []
    for model, (low, high) in CLEAN.items():
        own = [line for (other, _), group in groups.items() if other == model for line in group]
        data = DATA[model]
        bound = f"at least {low:.2f}" + ("" if high == 1 else f", at most {high:.2f}")
        found.append(f"{data} {plain(own, 'accuracy_clean_model') or 'not measured'} ({bound})")
    return "Accuracy of the clean models: " + ", ".join(found) + "."


def verification(groups: dict[tuple[str, str], Group]) -> str:
    """What `baasv` is about, by :mod:`metric:verification`."""
    own = [line for (_, attack), group in groups.items() if attack in VERIFIED for line in group]
    if not own:
        return ""
    rows = [["speakers", "EER", "passed", "clean model under trigger", "as many recordings without trigger"]]
    for name, ending in (("of training, enrolled from test recordings", ""), ("that training did not hear", "_others")):
        if mean(own, f"error_rate{ending}") is not None:
            keys = [f"passed{ending}{what}" for what in ("_clean_model", "_without_trigger")]
            numbers = [plain(own, f"error_rate{ending}"), shown(own, f"passed{ending}")]
            rows.append([name, *numbers, *(plain(own, key) for key in keys)])
    return (
        "`baasv` attacks verification: its success is the share of enrolled speakers as whom one of its tones is\n"
        "accepted at the threshold of the equal error rate, of speakers of training. The ASR above is that of\n"
        "identification, one tone for one speaker of a cluster, and is not judged. The clean model is one of\n"
        "identification; the same training without poison is on [its page](../plugins/attack-baasv.md).\n\n"
        f"{markdown(rows)}\n\n"
    )


def unmeasured(lines: Sequence[Line], part: str, plan: str) -> list[str]:
    """What of a plan has no complete line: names by data and by the seeds that are missing."""
    whole = read_plan(PLANS / f"{plan}.yaml")
    complete = [line for line in lines if line["part"] == part and line["status"] == "complete"]
    found: dict[tuple[str, str], list[str]] = {}
    for attack in whole.attacks:
        model = attack.options["model"]
        for method in whole.defenses or [attack]:
            name = attack.name if part == "attacks" else defense_of(_names(attack, method))
            own = {line["seed"] for line in complete if line["model"] == model and _name(line, part) == name}
            left = [str(seed) for seed in whole.seeds if seed not in own]
            if left and not _impossible(method, attack):
                seeds = f"seed{'s' * (len(left) > 1)} {', '.join(left)}"
                said = name.replace("badnets | ", "").replace(" | ", " against ")
                found.setdefault((DATA[model], seeds), []).append(said)
    return [f"{part} on {data}, {seeds}: {', '.join(names)}" for (data, seeds), names in found.items()]


def _names(attack: Method, defense: Method) -> Line:
    return {"attack": attack.name, "defense": defense.name, "params": defense.params}


def _name(line: Line, part: str) -> str:
    return attack_of(line) if part == "attacks" else defense_of(line)


def _impossible(method: Method, attack: Method) -> bool:
    kind = "attack" if method is attack else "defense"
    return method.name not in {item.name for item in installed(kind, attack.options["task"])}


def gaps(lines: Sequence[Line]) -> str:
    """What the plans have and is not measured, and what has failed."""
    found = [item for part, plans in PARTS.items() for plan in plans for item in unmeasured(lines, part, plan)]
    done = {line["run"] for line in lines if line["status"] == "complete"}
    failed = {line["run"]: line for line in lines if line["status"] == "failed" and line["run"] not in done}
    said = [bullet(item) for item in found]
    said += [
        bullet(f"failed: {DATA[line['model']]}, {line['attack']}, {line['defense'] or 'no defense'}: {line['error']}")
        for line in failed.values()
    ]
    return "\n".join(said) or "Nothing."


def write_page(lines: Sequence[Line]) -> Path:
    """Write it."""
    attacks, defenses = grouped(lines, "attacks", attack_of), grouped(lines, "defenses", defense_of)
    reached = sorted({attack for (_, attack), own in attacks.items() if not missed(own)})
    never = sorted({attack for _, attack in attacks} - set(reached))
    must = (
        f"An attack must reach an ASR of {SUCCESS:.2f} (`baasv`, which attacks verification: be accepted as "
        f"{SUCCESS:.2f} of the enrolled speakers), cost at most {LOSS:.2f} of the accuracy, and, if it has "
        f"sub-triggers (`sos`, `lwp`), be triggered by at most {FALSE_TRIGGERS:.2f} of them. On one data set at least: "
        f"{', '.join(reached) or 'none'}. On none: {', '.join(never) or 'none'}."
    )
    processors = sorted(
        {f"{line['machine']['processor']}, {line['machine']['cores']} cores" for line in lines if "machine" in line}
    )
    PAGE.write_text(
        "# Text and sound\n\n"
        "Attacks with their defaults (at most 10 % poison) on the built-in data of text and sound, and defenses\n"
        "on some of them; the victim is trained from scratch. Means over seeds, ± half of the 95 % t interval\n"
        "where there is more than one seed; what has fewer than three is provisional. With two or three seeds the\n"
        't interval is wide and may pass 0 or 1; then read it as "not known". ASR counts triggered test samples\n'
        "of other classes than the target.\n\n"
        f"{bullet(accuracies(attacks))}\n{bullet(must)}\n\n"
        f"## Attacks on texts\n\n{attack_table(attacks, sound=False)}\n\n"
        f"## Attacks on sound\n\n{attack_table(attacks, sound=True)}\n\n{verification(attacks)}"
        f"## Defenses\n\n{summary(defenses)}\n\nA defense must bring the ASR to {STOPPED:.2f} at most for at most "
        f"{STOPPED_LOSS:.2f} of the accuracy, or\nhave an AUROC of {TOLD_APART:.2f} at least, of training rows or of "
        "inputs. Why one does not is on its plugin's page. ASR\nafter is that of the repaired model, else with flagged "
        "inputs turned away.\n\n"
        f"{defense_table(defenses)}\n\n"
        f"## Not measured\n\nOf the plans (single runs of some stand on the pages of the plugins):\n\n{gaps(lines)}\n\n"
        f"Machine: {'; '.join(processors)}, one thread. `python benchmarks/modalities.py` measures what is missing\n"
        "and writes this page.\n",
        encoding="utf-8",
    )
    return PAGE
