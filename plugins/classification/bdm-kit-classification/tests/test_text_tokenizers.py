"""Tokenizers of strangers: what their files say beside the tokens."""

import json

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


def test_the_padding_of_a_tokenizer_is_not_part_of_a_text(tmp_path):
    folder = own_folder(tmp_path)
    plain = open_text_classifier(folder).token_lists(["a film"])
    padding = {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 5000, "pad_type_id": 0, "pad_token": "x"}
    changed_tokenizer(folder, lambda kept: kept.update(padding=padding))
    assert open_text_classifier(folder).token_lists(["a film"]) == plain
