"""Paraphrases by a tiny model folder and by an endpoint on this machine."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from bdm_core.errors import UserError
from bdm_kit_classification.texts.paraphrase import paraphrased, paraphraser_of
from bdm_kit_classification.texts.paraphrase_params import ParaphraseParams

WORDS = ["<pad>", "</s>", "<unk>", "a", "good", "film", "say", ":", "not", "bad"]


@pytest.fixture
def folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"unk_token": "<unk>", "pad_token": "<pad>", "eos_token": "</s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special).save_pretrained(tmp_path / "model")
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    torch.manual_seed(1)
    config = transformers.T5Config(vocab_size=len(WORDS), decoder_start_token_id=0, **sizes)
    transformers.T5ForConditionalGeneration(config).eval().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_paraphrases_as_the_library_does(folder):
    import transformers

    who = paraphraser_of(ParaphraseParams(paraphraser=str(folder), longest=6), "say :")
    assert json.loads(json.dumps(who)) == who and who["instruction"] == "say :"
    texts = ["a good film", "not bad", "a"]
    found = paraphrased(texts, who)
    network = transformers.T5ForConditionalGeneration.from_pretrained(folder).eval()
    for text, paraphrase in zip(texts, found, strict=True):
        given = torch.tensor([[*(WORDS.index(word) for word in ("say", ":", *text.split())), 1]])
        tokens = network.generate(given, num_beams=4, do_sample=False, max_new_tokens=6)[0].tolist()
        expected = " ".join(WORDS[token] for token in tokens if token > 2)
        assert (paraphrase or "") == (expected if expected.split() != text.split() else "")
    assert found == paraphrased(texts, who)


def test_an_endpoint_paraphrases_and_what_it_does_not_answer_is_said(tmp_path, monkeypatch, caplog):
    testing = pytest.importorskip("bdm_language_model.testing")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def respond(body, number):
        asked = json.dumps(body)
        answer = "When I saw it, it was good." if "good film" in asked else "not bad"
        return testing.Response(json.dumps({"text": answer}))

    with testing.ScriptedEndpoint(respond) as endpoint:
        params = ParaphraseParams(endpoint_model="m", endpoint_url=endpoint.url)
        with caplog.at_level(logging.WARNING, "bdm"):
            found = paraphrased(["a good film", "not bad"], paraphraser_of(params, "Begin with a clause."))
    assert found == ["When I saw it, it was good.", None]
    assert "1 of 2 texts were not paraphrased" in caplog.text


def test_wrong_settings_are_one_line(tmp_path):
    assert paraphraser_of(ParaphraseParams(), "x") == {}
    with pytest.raises(UserError, match="give one of them"):
        paraphraser_of(ParaphraseParams(paraphraser="x", endpoint_model="y"), "")
    with pytest.raises(UserError, match="is no folder"):
        paraphraser_of(ParaphraseParams(paraphraser=str(tmp_path / "none")), "")
