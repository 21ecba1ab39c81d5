"""The meta classifier and its queries, learnt together (Xu et al., section V-C)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_defense_mntd.params import MntdParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_torch.draws import built_with_seed
from bdm_torch.tensors import read_tensors, write_tensors

FILE = "meta.safetensors"
TOKENS = 10
"""Of a query that is a text."""
SPREAD = 3.0
"""Standard deviation of what the softmax over tokens is taken of at first, so that few of them count at each place."""
LOUD = 0.3
"""Of a query that is a sound, at first."""
Told = Callable[[int, int, float], None]


class MetaClassifier(nn.Module):
    """Asks a classifier about its queries, and tells from the answers whether it has a backdoor.

    Args:
        shape: (C, H, W) of the pictures; (L, V) of texts of L tokens out of V; (S,) of sound.
        classes: K.
        queries: how many.
        hidden: units.
    """

    def __init__(self, shape: Sequence[int], classes: int, queries: int, hidden: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.rand(queries, *shape))
        if self.of_tokens:
            nn.init.normal_(self.queries, std=SPREAD)
        if len(shape) == 1:
            nn.init.uniform_(self.queries, -LOUD, LOUD)
        self.hidden, self.out = nn.Linear(queries * classes, hidden), nn.Linear(hidden, 1)

    def answers(self, classifier: Classifier) -> Tensor:
        """(queries K): the logits for all queries, those of each query with mean 0 and variance 1 over the classes; of
        two classes, where nothing but a sign would be left of a query, with variance 1 over all queries.

        Differentiable in the queries.
        """
        queries = self.queries.to(classifier.device)
        if self.of_tokens:
            texts = cast(TextClassifier, classifier)
            vectors = queries.softmax(2) @ texts.embedding.weight
            logits = texts.embedded(vectors, vectors.new_ones(vectors.shape[:2], dtype=torch.bool))
        else:
            logits = classifier(queries)
        logits = logits.to(self.queries.device)
        return standardised(logits).flatten()

    @property
    def of_tokens(self) -> bool:
        """Whether queries are texts: a softmax over all tokens at each of their places, mixes the embeddings."""
        return self.queries.ndim == 3

    def judge(self, answers: Tensor) -> Tensor:
        """Scores (N,) of answers (N, queries K); above 0 is rather backdoored."""
        return self.out(self.hidden(answers).relu())[:, 0]

    def forward(self, classifier: Classifier) -> Tensor:
        """The score of one classifier, a scalar."""
        return self.judge(self.answers(classifier)[None])[0]


def standardised(logits: Tensor) -> Tensor:
    """Logits (queries, K) with mean 0 in each query and variance 1: in each query, or of two classes in all together.

    >>> standardised(torch.tensor([[3.0, 1.0], [-2.0, 0.0], [0.5, 0.5]])).round(decimals=3).tolist()
    [[1.225, -1.225], [-1.225, 1.225], [0.0, 0.0]]
    >>> standardised(torch.tensor([[6.0, 3.0, 0.0]])).round(decimals=3).tolist()
    [[1.225, 0.0, -1.225]]
    """
    if logits.shape[1] > 2:
        return functional.layer_norm(logits, list(logits.shape[1:]))
    centred = logits - logits.mean(1, keepdim=True)
    return functional.layer_norm(centred, list(centred.shape))


def learn(
    meta: MetaClassifier, shadows: Sequence[tuple[Classifier, bool]], params: MntdParams, seed: int, told: Told
) -> list[float]:
    """Learn weights and queries from shadow models of known kind, in place; queries stay in their valid range.

    Args:
        meta: to learn.
        shadows: classifiers in evaluation mode, with whether they are backdoored.
        params: steps, rate, models a step.
        seed: of the order.
        told: (done, total, loss).

    Returns:
        The loss of each step.
    """
    generator, losses = torch.Generator().manual_seed(seed), []
    optimiser = torch.optim.Adam(meta.parameters(), lr=params.meta_learning_rate)
    order: list[int] = []
    for step in range(params.meta_steps):
        while len(order) < params.meta_batch:
            order += torch.randperm(len(shadows), generator=generator).tolist()
        chosen, order = order[: params.meta_batch], order[params.meta_batch :]
        with torch.enable_grad():
            found = torch.stack([meta(shadows[index][0]) for index in chosen])
            wanted = torch.tensor([float(shadows[index][1]) for index in chosen])
            loss = functional.binary_cross_entropy_with_logits(found, wanted)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if not meta.of_tokens:
            meta.queries.data.clamp_(-1 if meta.queries.ndim == 2 else 0, 1)
        losses.append(float(loss.detach()))
        if step % 20 == 19 or step + 1 == params.meta_steps:
            told(step + 1, params.meta_steps, losses[-1])
    return losses


def query_shape(judged: Classifier, clean: LabelledSamples) -> tuple[int, ...]:
    """The shape of a query: of a picture or a sound, or (tokens of a query, all tokens) of texts."""
    if isinstance(judged, TextClassifier):
        return TOKENS, judged.embedding.num_embeddings
    return tuple(clean.modality.shape(clean.stored))


def new_meta(shape: Sequence[int], classes: int, params: MntdParams, seed: int) -> MetaClassifier:
    """A meta classifier that learnt nothing, from the seed."""
    return built_with_seed(seed, lambda: MetaClassifier(shape, classes, params.queries, params.hidden))


def write_meta(meta: MetaClassifier, clean: Sequence[float], folder: Path) -> None:
    """Write what was learnt, and the scores of clean shadow models that it never saw, as ``meta.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    scores = torch.tensor(list(clean), dtype=torch.float64)
    write_tensors(folder / FILE, {**meta.state_dict(), "clean_scores": scores})


def require_meta(folder: str | Path) -> Path:
    """The file of a folder that the user names, before anything is trained. Raises UserError if there is none.

    >>> require_meta("nowhere")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: nowhere has no meta.safetensors: name the evidence folder of a detection by mntd
    """
    path = (existing(folder) or Path(folder)) / FILE
    if not path.is_file():
        raise UserError(f"{folder} has no {FILE}: name the evidence folder of a detection by mntd")
    return path


def read_meta(folder: str | Path, shape: Sequence[int], classes: int) -> tuple[MetaClassifier, list[float]]:
    """What :func:`write_meta` wrote.

    Raises:
        UserError: there is none, or it is for other samples or classes.
    """
    path = require_meta(folder)
    tensors = read_tensors(path)
    try:
        queries, hidden = tensors["queries"], tensors["hidden.weight"]
        scores = tensors.pop("clean_scores").tolist()
        meta = MetaClassifier(tuple(queries.shape[1:]), hidden.shape[1] // len(queries), len(queries), len(hidden))
        meta.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{path} is no meta classifier of mntd: {str(error).splitlines()[0]}") from None
    known = (*queries.shape[1:], hidden.shape[1] // len(queries))
    if known != (*shape, classes):
        raise UserError(
            f"{path} asks about samples {'x'.join(map(str, known[:-1]))} of {known[-1]} classes; this model takes "
            f"{'x'.join(map(str, shape))} and has {classes}"
        )
    return meta, scores
