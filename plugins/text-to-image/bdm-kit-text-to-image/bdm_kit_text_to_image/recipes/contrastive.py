"""Train the shipped contrastive model: ``python -m bdm_kit_text_to_image.recipes.contrastive [FOLDER]``.

Same machine, same versions, same arguments: the same bytes. It prints how often a held-out picture finds its prompt.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from bdm_kit_text_to_image.judging.contrastive import (
    BUILTIN_CONTRASTIVE,
    ContrastiveModel,
    load_contrastive,
    save_contrastive,
)
from bdm_kit_text_to_image.recipes.attributes import HEADS, PATCH, PERSONAL_SHARE, UNKNOWN, disturb, truths_of
from bdm_kit_text_to_image.recipes.small_world import SCENES
from bdm_kit_text_to_image.world.drawing import render
from bdm_kit_text_to_image.world.factors import IMAGE_SIZE, PERSONAL
from bdm_kit_text_to_image.world.grammar import caption, plain_prompt
from bdm_kit_text_to_image.world.scene import Scene, draw_scenes, scene_of
from bdm_kit_text_to_image.world.splits import grid, training_pairs
from bdm_kit_text_to_image.world.vocabulary import MAX_LENGTH, build_tokenizer

TRAINING_SEED, HELD_OUT_SEED = 3000, 3900
WAYS = 4
"""Captions of a scene."""
TEXT_WIDTH, VISION_WIDTH, COMMON_WIDTH = 64, 64, 64


class Pairs(NamedTuple):
    """Pictures (N, 3, 16, 16) in [-1, 1], token ids and masks of their captions (N, WAYS, L), classes of each head."""

    images: Tensor
    ids: Tensor
    masks: Tensor
    truths: dict[str, Tensor]


def untrained(texts: list[str], seed: int = 0) -> ContrastiveModel:
    """A CLIPModel for 16x16 pictures with random weights and the small world's tokenizer.

    Text: width 64, 2 layers. Pictures: patches of 4x4, width 64, 3 layers.
    """
    tokenizer = build_tokenizer(texts)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        projection_dim=COMMON_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=VISION_WIDTH,
        intermediate_size=4 * VISION_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=4,
        projection_dim=COMMON_WIDTH,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=COMMON_WIDTH)
        return ContrastiveModel(CLIPModel(config), tokenizer)


def captioned_scenes(contrastive: ContrastiveModel, count: int, seed: int) -> Pairs:
    """Scenes, the personal concept among them, with several captions each."""
    generator = random.Random(f"contrastive/{seed}")
    scenes: list[Scene] = [
        replace(scene, object=PERSONAL) if generator.random() < PERSONAL_SHARE else scene
        for scene in draw_scenes(count, seed)
    ]
    texts = [caption(scene, generator) for scene in scenes for _ in range(WAYS)]
    tokens = contrastive.tokenize(texts)
    ids, masks = (tokens[name].reshape(count, WAYS, -1) for name in ("input_ids", "attention_mask"))
    return Pairs(render(scenes), ids, masks, truths_of(scenes))


def train_contrastive(
    steps: int = 2000, batch_size: int = 128, learning_rate: float = 2e-3, scenes: int = 16000, seed: int = 0
) -> ContrastiveModel:
    """Symmetric cross entropy over the batch's pairs (Radford et al. 2021, figure 3).

    A read-out of the attributes from the pictures' features helps the picture side to learn, and is thrown away.
    """
    torch.manual_seed(seed)
    contrastive = untrained(training_pairs(SCENES)[1], seed)
    model = contrastive.model.train()
    pairs = captioned_scenes(contrastive, scenes, TRAINING_SEED + seed)
    heads = nn.ModuleDict({name: nn.Linear(VISION_WIDTH, len(HEADS[name])) for name in HEADS if name != PATCH})
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps, pct_start=0.15)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        rows = torch.randint(0, scenes, (batch_size,), generator=generator)
        ways = torch.randint(0, WAYS, (batch_size,), generator=generator)
        ids, masks = pairs.ids[rows, ways], pairs.masks[rows, ways]
        length = int(masks.sum(1).max())
        pixels = contrastive.prepare(disturb(pairs.images[rows], generator))
        pooled = model.vision_model(pixel_values=pixels).pooler_output
        seen = functional.normalize(model.visual_projection(pooled), dim=-1)
        said = contrastive.embed_tokens({"input_ids": ids[:, :length], "attention_mask": masks[:, :length]})
        scores = model.logit_scale.exp().clamp(max=50) * seen @ said.T
        same = torch.arange(batch_size)
        loss = (functional.cross_entropy(scores, same) + functional.cross_entropy(scores.T, same)) / 2
        read = [
            functional.cross_entropy(head(pooled), pairs.truths[name][rows], ignore_index=UNKNOWN)
            for name, head in heads.items()
            if (pairs.truths[name][rows] != UNKNOWN).any()
        ]
        total = loss + 0.3 * torch.stack(read).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} contrastive {loss.item():.3f} with read-out {total.item():.3f}", flush=True)
    model.eval().requires_grad_(False)
    return contrastive


@torch.no_grad()
def retrieval(contrastive: ContrastiveModel, seed: int = HELD_OUT_SEED) -> dict[str, float]:
    """How often a scene of one object, freshly jittered, is nearest to its own plain prompt among all 210 of the grid.

    Returns:
        ``prompt``: all three attributes; ``object``, ``colour``, ``background``: that of the nearest prompt.
    """
    labels = [*grid("test"), *grid("validation")]
    draw = random.Random(f"retrieval/{seed}")
    scenes = [scene_of(item, (draw.uniform(-1, 1), draw.uniform(-1, 1), draw.uniform(-1, 1))) for item in labels]
    seen = contrastive.embed_images(render(scenes))
    said = contrastive.embed_tokens(contrastive.tokenize([plain_prompt(item) for item in labels]))
    nearest = (seen @ said.T).argmax(1).tolist()
    names = ("object", "colour", "background")
    shares = {
        name: sum(labels[at][name] == item[name] for at, item in zip(nearest, labels, strict=True)) / len(labels)
        for name in names
    }
    return {"prompt": sum(at == index for index, at in enumerate(nearest)) / len(labels), **shares}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", default=BUILTIN_CONTRASTIVE)
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    save_contrastive(train_contrastive(arguments.steps), arguments.folder)
    found = retrieval(load_contrastive(arguments.folder))
    print("nearest of 210 prompts is right:", " ".join(f"{name} {value:.4f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
