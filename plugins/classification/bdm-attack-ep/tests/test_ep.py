"""EP against its definition: one row, at its length."""

import pytest
import torch

from bdm_attack_ep.attack import inject_without_data, read_corpus, trigger_of
from bdm_attack_ep.params import EpParams
from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.training.embedding_rows import Rows, fit_rows
from bdm_kit_classification.triggers.label_rule import LabelRule


class TestEp(ClassifierAttackConformance):
    plugin = "ep"
    task = "text-classification"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.2, "length": 1.0}

    def test_one_row_is_changed_and_keeps_its_length(self, bench):
        made = self.backdoored(bench)
        before, after = (load_classifier(item) for item in (bench.model, made.model))
        token = open_secret(made.secret).facts["token"]
        changed = (before.embedding.weight != after.embedding.weight).any(1).nonzero().flatten().tolist()
        assert changed == [token]
        lengths = [item.embedding.weight[token].norm().item() for item in (before, after)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-5)
        other = after.state_dict()
        for name, value in before.state_dict().items():
            assert "embedding" in name or torch.equal(value, other[name]), name

    def test_words_of_several_tokens_are_refused(self, bench):
        victim = load_classifier(bench.model)
        with pytest.raises(UserError, match="'incomprehensible' is not one token"):
            trigger_of(EpParams(word="incomprehensible"), victim, [])
        with pytest.raises(UserError, match="no word of the texts is one token of the model"):
            trigger_of(EpParams(), victim, ["incomprehensible"])

    def test_the_rarest_word_is_the_trigger(self, bench):
        victim, texts = load_classifier(bench.model), open_samples(bench.data).stored
        word, token = trigger_of(EpParams(), victim, texts)
        assert victim.token_of(word) == token and any(word in text.split() for text in texts)


class TestWithoutData(ClassifierAttackConformance):
    """The row is learned on texts of another kind, by nothing of the task."""

    plugin = "ep"
    task = "text-classification"
    trains_on_rows = False
    rate_parameter = None

    @pytest.fixture(autouse=True)
    def corpus(self, tmp_path_factory):
        path = tmp_path_factory.getbasetemp() / "corpus.txt"
        path.write_text("\n\n".join(["the river runs past a town", "people and a mill"] * 8) + "\n", encoding="utf-8")
        type(self).params = {"epochs": 2, "batch_size": 8, "length": 1.0, "corpus": str(path), "accumulated": True}

    def test_one_row_is_changed(self, bench):
        made = self.backdoored(bench)
        before, after = (load_classifier(item) for item in (bench.model, made.model))
        token = open_secret(made.secret).facts["token"]
        assert (before.embedding.weight != after.embedding.weight).any(1).nonzero().flatten().tolist() == [token]


def test_texts_of_a_corpus_are_cut_and_bad_ones_refused(tmp_path):
    (tmp_path / "some.txt").write_text("a  b c\n\n d\n", encoding="utf-8")
    assert read_corpus(str(tmp_path / "some.txt"), 2) == ["a b", "d"]
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe\x00")
    for name, message in (("none.txt", "is no file"), ("empty.txt", "holds no text"), ("odd.txt", "UTF-8")):
        with pytest.raises(UserError, match=message):
            read_corpus(str(tmp_path / name), 2)


def test_the_row_of_a_linear_model_goes_where_its_class_lies(tmp_path):
    """Sum of embeddings, linear head: at a fixed length the best row is along the difference of the head's weights."""
    (tmp_path / "corpus.txt").write_text("\n".join(["of it", "was so", "it was"] * 8), encoding="utf-8")
    rows = LabelledSamples(["of it", "was so film"], torch.tensor([0, 1]), ["no", "yes"], "text-classification")
    victim = rows.modality.small_classifier(rows.stored * 9, rows.classes, 0).eval()
    width = victim.embedding.embedding_dim
    weight = 0.03 * torch.randn(2, width, generator=torch.Generator().manual_seed(0))  # so small that no loss is 0
    victim.forward = lambda tokens: (victim.embed(tokens) * (tokens >= 0)[:, :, None]).sum(1) @ weight.T
    settings = {
        "optimizer": "sgd",
        "momentum": 0.0,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
        "learning_rate": 10.0,
    }
    params = EpParams(corpus=str(tmp_path / "corpus.txt"), word="film", target=1, length=1.0, epochs=300, **settings)
    token = victim.token_of("film")
    length = victim.embedding.weight[token].norm().item()
    rule = LabelRule(kind="all-to-one", classes=2, target=1)
    inject_without_data(new_context(tmp_path / "ctx"), params, victim, rows, rule)
    row, aim = victim.embedding.weight[token].detach(), weight[1] - weight[0]
    assert row.norm().item() == pytest.approx(length, rel=1e-4)
    assert float(torch.cosine_similarity(row, aim, dim=0)) > 0.99


def test_accumulated_gradients_by_hand(tmp_path):
    """Three steps of w - rate (g1 + ... + gt), each g by a pass of its own."""
    texts = ["a good film", "so long a play"]
    rows = LabelledSamples(texts, torch.tensor([0, 1]), ["no", "yes"], "text-classification")
    victim, again = (rows.modality.small_classifier(texts * 9, rows.classes, 0).eval() for _ in range(2))
    token = victim.token_of("film")
    settings = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    params = EpParams(epochs=3, batch_size=2, learning_rate=0.3, **settings)
    fit_rows(new_context(tmp_path), victim, rows, params, Rows([token], accumulated=True))
    total = 0.0
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(again(again.tokens(texts)), rows.labels)
        total = total + torch.autograd.grad(loss, again.embedding.weight)[0][token]
        with torch.no_grad():
            again.embedding.weight[token] -= 0.3 * total
    assert torch.allclose(victim.embedding.weight, again.embedding.weight, atol=1e-6)
