"""Tokenizers of strangers: missing, damaged, or of another size than the embedding."""

import json

import pytest

from bdm_core.errors import ArtifactError
from bdm_kit_classification.models.text_classifiers import TextConfig, build, open_text_classifier, train_tokenizer


def changed_tokenizer(folder, change):
    kept = json.loads((folder / "tokenizer.json").read_text())
    change(kept)
    (folder / "tokenizer.json").write_text(json.dumps(kept))


def own_folder(tmp_path):
    tokenizer = train_tokenizer(["a good film"] * 5, 280)
    config = TextConfig(architecture="text-cnn", width=8, tokens=tokenizer.get_vocab_size(), classes=["no", "yes"])
    (tmp_path / "model").mkdir()
    build(config, tokenizer, seed=0).write(tmp_path / "model")
    return tmp_path / "model"


def test_a_token_without_an_embedding_is_refused(tmp_path):
    folder = own_folder(tmp_path)
    changed_tokenizer(folder, lambda kept: kept["model"]["vocab"].update(a=5000))
    with pytest.raises(ArtifactError, match="has the token 5000, the model embeddings for"):
        open_text_classifier(folder)


def test_the_padding_of_a_tokenizer_is_not_part_of_a_text(tmp_path):
    folder = own_folder(tmp_path)
    plain = open_text_classifier(folder).token_lists(["a film"])
    padding = {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 5000, "pad_type_id": 0, "pad_token": "x"}
    changed_tokenizer(folder, lambda kept: kept.update(padding=padding))
    assert open_text_classifier(folder).token_lists(["a film"]) == plain


@pytest.mark.parametrize(
    ("odd", "told"),
    [(None, "no tokenizer with words"), ("x", "no tokenizer that can"), (-5, "leaves nothing"), (0, "")],
)
def test_a_bert_whose_tokenizer_is_missing_or_cuts_all(tmp_path, odd, told):
    transformers = pytest.importorskip("transformers")
    file = own_folder(tmp_path) / "tokenizer.json"
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file), pad_token="<unknown>")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=len(fast), max_position_embeddings=16, **sizes)
    folder = tmp_path / "bert"
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    if odd is not None:
        fast.save_pretrained(folder)
        about = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(about | {"model_max_length": odd}))
    with pytest.raises(ArtifactError, match=told):
        open_text_classifier(folder)
