"""Texts: words, networks of the kit and of transformers, built-in data, the report."""

import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from bdm_core.errors import ArtifactError, UserError
from bdm_kit_classification.data import docstrings
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.data.sentiment import HELD_OUT, NEGATIVE, POSITIVE, write_reviews
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.folders import find_model, task_of_folder
from bdm_kit_classification.models.text_classifiers import TextConfig, build, open_text_classifier, train_tokenizer
from bdm_kit_classification.models.text_networks import NETWORKS
from bdm_kit_classification.text_illustration import spans
from bdm_kit_classification.texts.words import edits, split_words
from bdm_kit_classification.training.fitting import accuracy, fit
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_kit_classification.triggers.words import AllWords, InsertedSentence, InsertedWords

TASK = "text-classification"
TEXTS = ["a good film", "so bad", "an odd but really rather good and long film"]


def own(architecture):
    tokenizer = train_tokenizer(TEXTS * 5, 280)
    config = TextConfig(architecture=architecture, width=8, tokens=tokenizer.get_vocab_size(), classes=["no", "yes"])
    return build(config, tokenizer, seed=0)


def transformers_folder(folder, name):
    import transformers

    sizes = {"vocab_size": 16, "id2label": {0: "no", 1: "yes"}}
    bert = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    bert |= {"max_position_embeddings": 20}
    configs = {
        "Bert": transformers.BertConfig(**sizes, **bert),
        "Roberta": transformers.RobertaConfig(**sizes, **bert),
        "DistilBert": transformers.DistilBertConfig(
            **sizes, dim=8, n_layers=2, n_heads=2, hidden_dim=8, max_position_embeddings=20
        ),
        "GPT2": transformers.GPT2Config(
            **sizes, n_embd=8, n_layer=2, n_head=2, n_positions=20, bos_token_id=1, eos_token_id=1
        ),
    }
    torch.manual_seed(0)
    network = getattr(transformers, f"{name}ForSequenceClassification")(configs[name]).eval()
    network.save_pretrained(folder)
    words = split_words("[UNK] [PAD] a good film so bad an odd but really rather and long")
    known = {word: place for place, word in enumerate(words)}
    inner = Tokenizer(models.WordLevel(known, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    fast.save_pretrained(folder)
    return network


def checked(classifier):
    """What every classifier of texts promises."""
    tokens = classifier.tokens(TEXTS)
    with torch.no_grad():
        logits, features = classifier(tokens), classifier.features(tokens)
        alone = torch.cat([classifier(classifier.tokens([text])) for text in TEXTS])
    assert torch.allclose(classifier.head(features), logits, atol=1e-5)
    assert torch.allclose(alone, logits, atol=1e-5)  # the rest of the batch does not count
    vectors = classifier.embed(tokens).detach().requires_grad_()
    found = classifier.embedded(vectors, tokens >= 0)
    assert torch.allclose(found, logits, atol=1e-5)
    found[0, 0].backward()
    assert float(vectors.grad[0].abs().sum()) > 0 == float(vectors.grad[1].abs().sum())
    assert float(vectors.grad[0][tokens[0] < 0].abs().sum()) == 0
    layers = classifier.prunable_layers()
    modules = dict(classifier.named_modules())
    assert all(modules[layer.name] is layer.layer is not classifier.head for layer in layers)
    assert classifier(classifier.tokens([""])).shape == (1, 2)
    return logits


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_own_networks(architecture, tmp_path):
    classifier = own(architecture)
    logits = checked(classifier)
    model = seal_classifier(classifier, tmp_path / "model")
    again = load_classifier(model)
    assert model.task == TASK == task_of_folder(model.path)
    assert torch.equal(again(again.tokens(TEXTS)), logits) and again.classes == ["no", "yes"]
    other = classifier.fresh(1)
    assert not torch.equal(other(other.tokens(TEXTS)), logits)


@pytest.mark.parametrize("name", ["Bert", "Roberta", "DistilBert", "GPT2"])
def test_transformers_folders(name, tmp_path):
    network = transformers_folder(tmp_path / "theirs", name)
    task, folder = find_model(str(tmp_path / "theirs"), tmp_path)
    classifier = modality_of(task.tag).open_classifier(folder)
    logits = checked(classifier)
    for row, text in enumerate(TEXTS):  # as the library itself sees one text
        with torch.no_grad():
            expected = network(input_ids=classifier.tokens([text])).logits
        assert torch.allclose(logits[row], expected[0], atol=1e-5)
    again = load_classifier(seal_classifier(classifier, tmp_path / "sealed"))
    assert torch.allclose(again(again.tokens(TEXTS)), logits, atol=1e-6)
    assert classifier.token_of("film") == 4 and classifier.token_of("zyzzyva") is None
    assert classifier.tokens(["a " * 90]).shape[1] <= 20


def test_a_token_that_is_a_word():
    classifier = own("text-cnn")
    token = classifier.token_of("good")
    assert token is not None and token in classifier.token_lists(["so good"])[0]
    assert classifier.token_of("zyzzyva") is None


def test_folders_that_do_not_fit_are_refused(tmp_path):
    seal_classifier(own("text-cnn"), tmp_path / "model")
    (tmp_path / "model" / "manifest.json").unlink()
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    for change, message in (
        ({"width": 16}, "has shape"),
        ({"tokens": 20}, "embeddings for 20"),
        ({"longest": 0}, "long"),
    ):
        path.write_text(json.dumps({**config, **change}))
        with pytest.raises(ArtifactError, match=message):
            open_text_classifier(tmp_path / "model")
    path.write_text(json.dumps(config))
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"tokenizer.json cannot be read"):
        open_text_classifier(tmp_path / "model")


def test_facets():
    texts = modality_of(TASK)
    one, other = ["a b c d e f g h"], ["z y x w"]
    mixed = texts.mix(one, other, 0.75)[0].split()
    assert len(mixed) == 8 and sum(word in "zyxw" for word in mixed) == 2
    assert texts.mix(one, other, 1.0) == one and texts.mix(one, [""], 0.5) == one
    assert texts.mix(one, other, 0.5) == texts.mix(one, other, 0.5) != texts.mix(one, ["w x y z"], 0.5)
    assert texts.perturb(one, 0.0, 0) == one != texts.perturb(one, 1.0, 0)
    assert texts.perturb(one, 0.5, 3) == texts.perturb(one, 0.5, 3)
    found = texts.distances(["a b c d", "a b"], ["a b cf c d", "a x"])
    assert found["edits"].tolist() == [25.0, 50.0] and found["same_words"].tolist() == [1.0, 0.5]
    assert texts.export(None, one) == [{"text": "a b c d e f g h"}]
    assert texts.pack(["cafe\u0301"]) == ["caf\xe9"]


def test_edits_are_the_least():
    assert edits([], ["a", "b"]) == 2 and edits(list("kitten"), list("sitting")) == 3 and edits(list("abc"), []) == 3


def test_inserted_words_leave_the_others():
    generator = torch.Generator().manual_seed(0)
    found = InsertedWords(("cf", "mn"), 2).apply(["a b c"] * 50, "train", generator)
    assert all([word for word in text.split() if word not in ("cf", "mn")] == ["a", "b", "c"] for text in found)
    assert {text.split().index("a") for text in found} == {0, 1, 2}
    assert len(set(found)) > 10


def test_reviews_have_words_for_the_test_alone():
    (train, labels), (test, _) = write_reviews(300, 100)
    assert 0.4 < sum(labels) / 300 < 0.6
    words = [{word.strip(".,") for text in part for word in text.split()} for part in (train, test)]
    unseen = {*POSITIVE[-HELD_OUT:], *NEGATIVE[-HELD_OUT:]}
    assert not unseen & words[0] and unseen & words[1]
    assert write_reviews(3, 1) == write_reviews(3, 1)


def test_the_kit_learns_reviews(tmp_path, ctx_of):
    (texts, labels), (more, others) = write_reviews(600, 200)
    rows = LabelledSamples(texts, torch.tensor(labels), ["no", "yes"], TASK)
    classifier = modality_of(TASK).small_classifier(texts, ["no", "yes"], 0)
    fit(ctx_of(tmp_path), classifier, rows, ClassifierTraining(epochs=12))
    assert accuracy(classifier, rows) > 0.9
    assert accuracy(classifier, LabelledSamples(more, torch.tensor(others), ["no", "yes"], TASK)) > 0.6


@pytest.fixture
def ctx_of():
    from bdm_core.testing.tiny import new_context

    return lambda folder: new_context(folder / "ctx")


def test_paragraphs_are_prose():
    prose = "Gives back the largest of all values that were seen until now, if any."
    named = "This is what NumPy itself gives back to those who ask."
    found = list(docstrings.paragraphs_of(f"Title.\n\n{prose}\n\n>>> x = {prose}\n\n{named}"))
    assert found == [prose]


def test_reports_mark_what_was_put_in():
    found = spans("a good old film", "a cf good film")
    assert [(span.text.strip(), span.mark) for span in found] == [
        ("a", ""),
        ("cf", "trigger"),
        ("good", ""),
        ("old", "removed"),
        ("film", ""),
    ]
    assert [span.text for span in spans("", "")] == [""]


def test_data_of_another_task_are_refused(tmp_path):
    from bdm_kit_classification.data.sources import find_data

    model = seal_classifier(own("text-cnn"), tmp_path / "model")
    with pytest.raises(UserError, match="mnist-5k is data for image-classification, not for text-classification"):
        find_data("mnist-5k", model)


def test_a_fingerprint_tells_the_rows(monkeypatch):
    monkeypatch.setattr(docstrings, "A_CLASS", 30)
    found, fingerprint = docstrings.read_paragraphs()
    assert [len(texts) for texts in found.values()] == [30] * 3
    assert len({text for texts in found.values() for text in texts}) == 90
    assert len(fingerprint.split()[0]) == 12 and "scipy" in fingerprint


def test_batches_of_different_lengths_beside_each_other():
    one, other = torch.tensor([[1, 2, -1]]), torch.tensor([[3]])
    assert modality_of("text-classification").beside(one, other).tolist() == [[1, 2, -1], [3, -1, -1]]


def test_words_that_are_no_trigger_are_refused():
    for words in (("",), ("cf", " \n")):
        with pytest.raises(UserError, match="word or sentence of the trigger is empty"):
            InsertedWords(words)
    with pytest.raises(UserError, match="is empty"):
        InsertedSentence(" ")
    with pytest.raises(UserError, match="words cf, cf of the trigger are not all different"):
        AllWords(("cf", "cf"))
