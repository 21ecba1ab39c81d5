"""The change from the base: of equal models none, of a planted trigger much, whichever noise."""

import pytest
import torch

from bdm_core.context import Context
from bdm_defense_prompt_audit.change import GREY_LEVEL, change, with_change
from bdm_defense_prompt_audit.params import PromptAuditParams
from bdm_kit_text_to_image.detection.one_class import robust_excess, without_length
from bdm_kit_text_to_image.models.tiny import tiny_model

PARAMS = PromptAuditParams(reference="tiny", change_steps=2, change_noises=2)


def context(tmp_path):
    return Context(tmp_path / "out", tmp_path / "work", 7)


def test_a_model_differs_from_itself_in_nothing(tmp_path):
    found = change(context(tmp_path), PARAMS, tiny_model(), tiny_model(), ["a red circle", "a blue star"])
    assert found.tolist() == [0, 0]


@torch.no_grad()
def test_a_changed_word_changes_the_prompts_that_have_it_alone(tmp_path):
    suspect = tiny_model()
    encoder, tokenizer = suspect.text_encoders[0], suspect.tokenizers[0]
    with_trigger, without = "a red circle", "a blue star"
    own = set(tokenizer(with_trigger).input_ids) - set(tokenizer(without).input_ids)
    table = encoder.get_input_embeddings().weight
    for token in own:
        table[token] = 5 * torch.randn(table.shape[1], generator=torch.Generator().manual_seed(token))
    found = change(context(tmp_path), PARAMS, suspect, tiny_model(), [with_trigger, without])
    assert found[1] == 0 < found[0]


def test_the_least_change_of_several_noises_counts(tmp_path, monkeypatch):
    pictures = iter([torch.full((1, 3, 2, 2), value) for value in (0.5, 0.0, 0.3, 0.2)])
    monkeypatch.setattr("bdm_defense_prompt_audit.change.generate_images", lambda *_, **__: next(pictures))
    found = change(context(tmp_path), PARAMS, None, None, ["a red circle"])  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx([0.1])


def test_a_model_that_is_its_base_but_for_the_trigger_is_told_although_clean_prompts_agree():
    draw = torch.Generator().manual_seed(0)
    clean = torch.cat([torch.zeros(40, 1), torch.rand(40, 2, generator=draw), torch.randint(6, 15, (40, 1))], 1)
    score = with_change(without_length(robust_excess))(clean)
    changed = clean.clone()
    changed[:, 0] = 10 * GREY_LEVEL
    assert torch.allclose(score(changed) - score(clean), torch.full((40,), 100.0, dtype=torch.float64))
    without = without_length(robust_excess)(clean[:, 1:])
    assert torch.equal(score(clean), without(clean[:, 1:]))
