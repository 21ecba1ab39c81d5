"""What defenses of classifiers cannot work with is refused before an attack trains: few clean rows, networks."""

from pathlib import Path

import pytest
import torch

from bdm_core.artifacts import Model
from bdm_core.discovery.candidates import find, installed
from bdm_core.errors import UserError
from bdm_kit_classification.catalogue import TASKS
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.testing.planted import without_norms

ONE_IS_ENOUGH = {
    *("activation-clustering", "bki", "classifier-audit", "cognitive-distillation", "decree", "gradient-norm", "mntd"),
    *("neural-cleanse", "psbd", "spectral-signatures", "tabor", "teco"),
}
"""They hold no clean row out."""
CHOOSING = {
    **{name: {"strengths": [1.0]} for name in ("fine-tune", "ft-sam", "nad", "fst", "npd", "i-bau", "sau")},
    "otbr": {"shares": [0.1]},
    "mode-connectivity": {"points": [0.1]},
    "agpd": {"rule": "class"},
    "flare": {"rule": "cluster"},
    "neural-cleanse": {"repair": "unlearn"},
}
"""With these settings nothing is held out."""
OF_TOKENS = [
    *("anp", "bnp", "clp", "clp-swept", "ep", "rnp", "npd", "ibd-psc", "flare", "nad", "beatrix"),
]


def of(name: str, task: str = "image-classification"):
    return find("defense", name, task).load()


@pytest.mark.parametrize("task", sorted(TASKS))
def test_who_holds_clean_rows_out_refuses_a_single_one(task: str) -> None:
    defenses = [candidate.load() for candidate in installed("defense", task)]
    for defense in [item for item in defenses if "clean-data" in item.access and item.name not in ONE_IS_ENOUGH]:
        with pytest.raises(UserError, match=rf"defense:{defense.name} .*the defender has 1: .*--data-share"):
            defense.check(defense.Params(), 1)
        defense.check(defense.Params(), 50)


@pytest.mark.parametrize(("name", "params"), CHOOSING.items(), ids=CHOOSING)
def test_where_nothing_is_held_out_one_row_will_do(name: str, params: dict) -> None:
    defense = of(name)
    defense.check(defense.Params(**params), 1)


def test_sentinet_needs_a_curve(tmp_path: Path) -> None:
    defense = of("sentinet")
    for degree in (1, 3):
        params = defense.Params(degree=degree)
        defense.check(params, degree + 3)
        with pytest.raises(UserError, match=f"needs at least {degree + 3} clean rows"):
            defense.check(params, degree + 2)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Its patches are a quarter of the picture's side, so that they make maps of 4x4."""
    return without_norms(tmp_path_factory.mktemp("vit") / "model")


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Its linear maps are of a class of its own, which no defense prunes."""
    import transformers
    from tokenizers import Tokenizer, models

    from bdm_kit_classification.models.transformers_text import TransformersText

    words = {word: place for place, word in enumerate(["[UNK]", "[PAD]", "a", "good", "film"])}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 20, "bos_token_id": 1, "eos_token_id": 1}
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=len(words), pad_token_id=1, id2label={0: "no", 1: "yes"}, **sizes)
    network = transformers.GPT2ForSequenceClassification(config)
    return seal_classifier(TransformersText(network, tokenizer), tmp_path_factory.mktemp("gpt2") / "model")


@pytest.mark.parametrize("name", OF_TOKENS)
def test_a_network_of_tokens_is_refused(name: str, vit: Model) -> None:
    defense = of(name)
    with pytest.raises(UserError, match=r"this model has none|has no feature maps") as caught:
        defense.check_model(defense.Params(), vit)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["anp", "clp", "clp-swept", "nad"])
def test_a_network_of_texts_without_layers_to_change_is_refused(name: str, gpt2: Model) -> None:
    defense = of(name, "text-classification")
    with pytest.raises(UserError, match=r"this model has none but its head|no layer whose attention"):
        defense.check_model(defense.Params(), gpt2)


def test_layers_that_are_not_there_are_refused(vit: Model) -> None:
    for name, params, message in (
        ("agpd", {"layer": "network.convs.9"}, r"no layer 'network\.convs\.9': known are network\."),
        ("sentinet", {"map_share": 1.0}, "needs a convolution whose output has 1 of the picture's side"),
        ("npd", {"layer": "network.convs.9"}, r"no linear layer or convolution 'network\.convs\.9'"),
    ):
        defense = of(name)
        with pytest.raises(UserError, match=message):
            defense.check_model(defense.Params(**params), vit)


def test_what_a_transformer_has_is_accepted(vit: Model) -> None:
    for name in ("agpd", "psbd", "otbr", "sentinet"):
        defense = of(name)
        defense.check_model(defense.Params(), vit)


@pytest.mark.parametrize("name", ["agpd", "psbd", "otbr"])
def test_a_network_without_layers_to_look_at_is_refused(name: str, vit: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from bdm_kit_classification.models.foreign_classifier import ForeignClassifier

    monkeypatch.setattr(ForeignClassifier, "prunable_layers", lambda self: [])
    defense = of(name)
    with pytest.raises(UserError, match=f"{name} .*this model has none.* choose another model"):
        defense.check_model(defense.Params(), vit)
