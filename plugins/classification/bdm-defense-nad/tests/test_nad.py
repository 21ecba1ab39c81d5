"""Neural attention distillation."""

import numpy as np
import pytest
import torch
from torch import nn

from bdm_core.errors import UserError
from bdm_defense_nad.params import NadParams
from bdm_defense_nad.plugin import Nad
from bdm_defense_nad.repair import attention, distance, layers_of, of_tokens, require_layers
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.feature_maps import outputs_of, stage_ends
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.models.transformers_audio import TransformersAudio
from bdm_kit_classification.models.transformers_classifier import TransformersClassifier
from bdm_kit_classification.models.transformers_text import TransformersText
from bdm_kit_classification.testing import ClassifierDefenseConformance


class TestNad(ClassifierDefenseConformance):
    plugin = "nad"
    task = "image-classification"


class TestNadOnTexts(TestNad):
    task = "text-classification"


class TestNadOnSound(TestNad):
    task = "audio-classification"


class TestSoundPreset(TestNadOnSound):
    """The teacher is plainly tuned, and the student longer and at a higher rate than by default."""

    params = {**Nad.presets["sound"], "epochs": 2, "teacher_epochs": 1}


class TestPaper(ClassifierDefenseConformance):
    """A teacher that was plainly fine-tuned, and no selection."""

    plugin = "nad"
    task = "image-classification"
    params = {"teacher": "fine-tune", "epochs": 1, "teacher_epochs": 1, "learning_rate": 1e-3, "strengths": [1.0]}


def test_distance_against_numpy():
    generator = torch.Generator().manual_seed(0)
    maps, goal = (torch.randn(3, 5, 4, 4, generator=generator).double() for _ in range(2))

    def attention(features):
        summed = (np.abs(features.numpy()) ** 3).sum(1).reshape(3, -1)
        return summed / np.linalg.norm(summed, axis=1, keepdims=True)

    wanted = np.square(attention(maps) - attention(goal)).mean()
    assert float(distance(maps, goal, power=3)) == pytest.approx(wanted)
    assert float(distance(maps, 7 * maps, power=3)) == pytest.approx(0, abs=1e-12)


def test_stages_end_with_their_last_module():
    config = ImageConfig(architecture="preact-resnet18", width=2, shape=(3, 16, 16), classes=["a", "b"])
    classifier, x = build(config, seed=0), torch.rand(2, 3, 16, 16)
    ends = stage_ends(classifier, x)
    names = {id(module): name for name, module in classifier.named_modules()}
    assert [names[id(module)] for module in ends] == [
        f"network.{name}" for name in ("blocks.1", "blocks.3", "blocks.5", "bn")
    ]
    with outputs_of(ends) as maps:
        classifier(x)
    assert [tuple(one.shape[1:]) for one in maps] == [(2, 16, 16), (4, 8, 8), (8, 4, 4), (16, 2, 2)]


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_networks_of_tokens_are_refused(patch, tmp_path):
    """Whatever maps their patches make: the tokens behind them do the work."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    network = ViTForImageClassification(ViTConfig(**sizes, image_size=16, patch_size=patch, id2label={0: "a", 1: "b"}))
    classifier = TransformersClassifier(network, {"size": 16}).eval()
    assert isinstance(classifier.head, nn.Linear)
    with pytest.raises(UserError, match="no feature maps"):
        stage_ends(classifier, torch.rand(1, 3, 16, 16))
    with pytest.raises(UserError, match="no feature maps"):
        Nad().check_model(NadParams(), seal_classifier(classifier, tmp_path / "model"))


@pytest.mark.parametrize("name", ["ResNet", "ConvNext"])
def test_convolutions_of_transformers_have_stages(name):
    import transformers

    options = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "id2label": {0: "a", 1: "b"}}
    options |= {"embedding_size": 8} if name == "ResNet" else {"patch_size": 2}
    config = getattr(transformers, f"{name}Config")(**options)
    network = getattr(transformers, f"{name}ForImageClassification")(config)
    assert len(stage_ends(TransformersClassifier(network, {"size": 32}).eval(), torch.rand(1, 3, 32, 32))) >= 2


def test_the_end_of_a_text_has_no_attention():
    made = torch.ones(1, 3, 2)  # (samples, tokens, features)
    maps = of_tokens(torch.nn.Linear(2, 2), made, torch.tensor([[7, 7, -1]]))
    assert maps.shape == (1, 2, 1, 3)
    assert attention(maps, 2)[0].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0])
    swapped = of_tokens(torch.nn.Conv1d(3, 3, 1), made, torch.tensor([[7, -1]]))
    assert swapped.shape == (1, 3, 1, 2) and float(swapped[..., 1].abs().sum()) == 0


def bert(folder):
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "another", "which", "is", "a", "little", "longer"]
    (folder / "vocab.txt").write_text("\n".join(words))
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    network = BertForSequenceClassification(BertConfig(vocab_size=len(words), **sizes, id2label={0: "a", 1: "b"}))
    return TransformersText(network, BertTokenizer(str(folder / "vocab.txt"))).eval()


def test_the_pooler_of_bert_has_no_attention_over_tokens(tmp_path):
    classifier = bert(tmp_path / "bert")
    tokens = classifier.tokens(["one", "another which is longer"])
    found = layers_of(classifier, tokens, 2)
    names = {module: name for name, module in classifier.network.named_modules()}
    assert [names[layer].split(".", 4)[-1] for layer in found] == ["intermediate.dense", "output.dense"]


def test_networks_of_waveforms_are_refused_before_anything_is_trained(tmp_path):
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    sizes |= {"conv_dim": (4,), "conv_kernel": (400,), "conv_stride": (320,), "num_feat_extract_layers": 1}
    sizes |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8}
    network = Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**sizes, vocab_size=4, id2label={0: "a", 1: "b"}))
    model = seal_classifier(TransformersAudio(network, {"sampling_rate": 8000}).eval(), tmp_path / "model")
    with pytest.raises(UserError, match="no feature maps"):
        require_layers(model, 3)
    with pytest.raises(UserError, match="no feature maps"):
        Nad().check_model(Nad.Params(), model)
