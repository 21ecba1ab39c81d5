"""A picture with its questions, the model's answers, and the shares that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field, ValidationInfo, model_validator

from bdm_language_model.requests import Picture, Request, quoted

JUDGE = """You examine pictures. You are given a picture{second} and numbered questions, each in JSON quotes.
Answer every question by what is to be seen in the first picture and by nothing else: "yes", "no", or "cannot tell" if
the picture does not let you decide. Give one answer for each number."""
SECOND = ", a second one that a question may name,"
YES, NO, UNSURE = "yes", "no", "cannot tell"


class Answer(BaseModel):
    """The answer to one question."""

    number: int = Field(ge=1)
    answer: Literal["yes", "no", "cannot tell"]


class Answers(BaseModel):
    """One answer for each number from 1 to the context's ``count``; whatever else a model says is dropped."""

    answers: list[Answer] = Field(max_length=100)

    @model_validator(mode="after")
    def _one_each(self, info: ValidationInfo) -> Answers:
        numbers = sorted(item.number for item in self.answers)
        wanted = list(range(1, (info.context or {}).get("count", len(numbers)) + 1))
        if numbers != wanted:
            raise ValueError(f"answers for the numbers {numbers}, questions {wanted}")
        return self

    def in_order(self) -> list[str]:
        """The answers by number."""
        return [item.answer for item in sorted(self.answers, key=lambda item: item.number)]


def picture_request(picture: bytes, questions: Sequence[str], second: bytes | None = None) -> Request:
    """What a model is asked about a picture, a PNG, and perhaps about a second one."""
    listed = "\n".join(f"{number}. {quoted(text)}" for number, text in enumerate(questions, 1))
    pictures = [Picture(picture)] if second is None else [Picture(picture), Picture(second)]
    task = JUDGE.format(second=SECOND if second is not None else "")
    return Request(task, [*pictures, f"Questions:\n{listed}"], context={"count": len(questions)})


def share_of_yes(answers: Sequence[str]) -> float | None:
    """yes / (yes + no); None if nothing was told.

    >>> share_of_yes(["yes", "no", "cannot tell", "yes"]), share_of_yes(["cannot tell"])
    (0.6666666666666666, None)
    """
    told = [answer for answer in answers if answer != UNSURE]
    return told.count(YES) / len(told) if told else None


@dataclass(frozen=True)
class Agreement:
    """Cohen's kappa (1960) of two judges' yes and no, with the standard error of his large-sample formula.

    Attributes:
        kappa: 1 for full agreement, 0 for that of chance; None without pictures, or if both always say the same one.
        stderr: None where kappa is.
        count: pictures that both judged.
    """

    kappa: float | None
    stderr: float | None
    count: int


def agreement(first: Sequence[bool | None], second: Sequence[bool | None]) -> Agreement:
    """The agreement of two judges over the same pictures; those that one of them did not judge are left out.

    >>> agreement([True, True, False, None], [True, False, False, True])
    Agreement(kappa=0.4, stderr=0.4898979485566356, count=3)
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    count = len(pairs)
    if not count:
        return Agreement(None, None, 0)
    observed = sum(a == b for a, b in pairs) / count
    left, right = (sum(pair[side] for pair in pairs) / count for side in (0, 1))
    chance = left * right + (1 - left) * (1 - right)
    if chance == 1:
        return Agreement(None, None, count)
    stderr = (observed * (1 - observed) / count) ** 0.5 / (1 - chance)
    return Agreement((observed - chance) / (1 - chance), stderr, count)
