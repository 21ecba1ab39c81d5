"""ONION against its definition, on texts whose odd word is known."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from bdm_core.records import Detection
from bdm_core.testing.tiny import new_context
from bdm_defense_onion.method import detect, purify, without_surprising
from bdm_defense_onion.network import open_judge, surprises
from bdm_defense_onion.params import OnionParams
from bdm_kit_classification.data.samples import INPUTS, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.data.sentiment import write_reviews
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.texts.ngrams import WordModel, excesses
from bdm_kit_classification.triggers.words import InsertedWords

TASK = "text-classification"


class TestOnion(ClassifierDefenseConformance):
    plugin = "onion"
    task = TASK
    kit_params = {"samples": 8}


def sealed(folder, texts, format="labelled-samples"):
    labels = torch.tensor([row % 2 for row in range(len(texts))])
    return seal_samples(folder, LabelledSamples(texts, labels, ["no", "yes"], TASK), format=format)


def test_rare_words_are_found_and_left_out(tmp_path):
    (texts, _), (more, _) = write_reviews(200, 40)
    triggered = InsertedWords(("cf", "mn", "bb", "tq")).apply(more, "test", torch.Generator().manual_seed(0))
    data = sealed(tmp_path / "data", texts)
    inputs = sealed(tmp_path / "inputs", more + triggered, INPUTS)
    found = detect(new_context(tmp_path / "a"), OnionParams(), data, inputs)
    assert isinstance(found, Detection) and found.level == "input"
    clean, bad = found.scores[:40], found.scores[40:]
    right = sum(one < other for one in clean for other in bad) / 1600
    assert right > 0.7
    assert sum(score > found.threshold for score in clean) / 40 < 0.2
    done = purify(new_context(tmp_path / "b"), OnionParams(), data, inputs)
    kept = open_samples(done.inputs).stored
    left = sum(any(word in ("cf", "mn", "bb", "tq") for word in text.split()) for text in kept[40:])
    assert left < 20 and done.rejected == [False] * 80
    assert sum(len(text.split()) for text in kept[:40]) > 0.9 * sum(len(text.split()) for text in more)


def test_an_excess_is_what_leaving_out_saves():
    model = WordModel([["a", "good", "old", "film"], ["a", "bad", "film"]] * 3)
    words = ["a", "qz", "good", "film"]
    count = len(words) + 1
    for place, found in enumerate(excesses(model, words)):
        rest = words[:place] + words[place + 1 :]
        expected = count * (model.surprise(words) - model.surprise(rest))
        assert abs(found - expected) < 1e-9


def test_a_text_keeps_a_word():
    assert without_surprising([], [], 0.0) == []
    assert without_surprising(["a", "b"], [5.0, 4.0], 0.0) == ["b"]


def test_a_network_judges_words(tmp_path):
    import transformers

    words = ["[UNK]", "a", "good", "film", "cf"]
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(tmp_path / "lm")
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 16}
    torch.manual_seed(0)
    network = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=5, bos_token_id=0, eos_token_id=0, **sizes)
    ).eval()
    network.save_pretrained(tmp_path / "lm")
    judge = open_judge(OnionParams(language_model=str(tmp_path / "lm"), batch_size=2), "cpu")
    found = judge(["a", "cf", "good", "film"])
    with torch.no_grad():
        texts = [torch.tensor([tokens]) for tokens in ([1, 4, 2, 3], [1, 2, 3])]
        whole, less = (float(network(text, labels=text).loss) for text in texts)
    assert abs(found[1] - 4 * (whole - less)) < 1e-4 and len(found) == 4
    assert surprises(network, [[1]], "cpu") == [0.0]
