"""The kit's own networks for texts: TextCNN and a small Transformer.

Each has ``embedding``, ``body``, which gives features (N, F) of embedded tokens (N, L, E) and their mask (N, L),
``head``, a linear map, and ``pairs``, as those for pictures.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Pairs = list[tuple[str, str]]


class TextCNN(nn.Module):
    """Convolutions over 2, 3 and 4 tokens, the largest value of each over the text, a linear head (Kim 2014).

    Args:
        tokens: size of the vocabulary.
        width: of the embedding; each convolution has as many units.
        classes: how many.
        longest: tokens of the longest text; not used.
    """

    def __init__(self, tokens: int, width: int, classes: int, longest: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.convs = nn.ModuleList(nn.Conv1d(width, width, size) for size in (2, 3, 4))
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(3 * width, classes)
        self.pairs: Pairs = [(f"convs.{index}", "") for index in range(3)]

    def body(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Features (N, 3 width); positions without a token are zeros to the convolutions and give no maximum."""
        x = (embedded * mask[:, :, None]).transpose(1, 2)
        hidden = []
        for conv in cast(Any, self.convs):
            size = conv.kernel_size[0]
            padded = functional.pad(x, ((size - 1) // 2, size // 2))
            hidden.append(functional.relu(conv(padded)).masked_fill(~mask[:, None, :], 0.0).amax(2))
        found: Tensor = self.dropout(torch.cat(hidden, 1))
        return found


class Block(nn.Module):
    """A block of a Transformer, normalised before each part."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The block's output (N, L, E)."""
        count, length, width = x.shape
        parts = self.mixed(self.norm1(x)).view(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts, attn_mask=mask[:, None, None, :])
        x = x + self.dropout(self.out(seen.transpose(1, 2).reshape(count, length, width)))
        wide: Tensor = functional.gelu(self.up(self.norm2(x)))
        return x + self.dropout(self.down(wide))


class TextTransformer(nn.Module):
    """Two blocks with four heads over learned positions, the largest values over the text, a linear head.

    Args:
        tokens: size of the vocabulary.
        width: of the embedding and all layers, a multiple of 4.
        classes: how many.
        longest: tokens of the longest text.
    """

    def __init__(self, tokens: int, width: int, classes: int, longest: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.places = nn.Parameter(torch.randn(longest, width) * 0.1)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(2))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        self.pairs: Pairs = [(f"blocks.{index}.{name}", "") for index in range(2) for name in ("mixed", "up")]

    def hidden(self, embedded: Tensor, mask: Tensor) -> list[Tensor]:
        """What each block gives, (N, L, width)."""
        x = embedded + self.places[: embedded.shape[1]]
        found = []
        for block in self.blocks:
            x = block(x, mask)
            found.append(x)
        return found

    def body(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Features (N, width)."""
        found: Tensor = self.norm(self.hidden(embedded, mask)[-1]).masked_fill(~mask[:, :, None], -1e4).amax(1)
        return found


NETWORKS: dict[str, tuple[type[TextCNN] | type[TextTransformer], int]] = {
    "text-cnn": (TextCNN, 64),
    "text-transformer": (TextTransformer, 64),
}
"""Architecture -> class and its usual width."""
