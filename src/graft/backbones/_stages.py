"""The parts of a network from input to output, told from the names of its parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BLOCK = re.compile(
    r"(?:^|\.)(?:"
    r"(?:layers?|blocks?|h|features|stages|groups|albert_layer_groups)\.(\d+)"  # lists of blocks, most networks
    r"|(?:layer|stage|denseblock|block|inception)(\d+)[a-z]?"  # ResNet, ShuffleNet, DenseNet, RegNet, GoogLeNet
    r"|encoder_layer_(\d+)"  # ViT of torchvision
    r"|Mixed_(\d)[a-z]"  # Inception
    r")\."
)
_SHARED = re.compile(r"(?:^|\.)(?:rel_embeddings|relative_attention_bias|mask_emb)(?:\.|$)|encoder\.LayerNorm\.")
"""What every block reads (DeBERTa's and MPNet's relative positions): it comes before the first of them."""


def group_by_depth(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Parameters from input to output, a group for each numbered block; every name once.

    The number is the first one along the name that counts blocks (`encoder.layer.3.`, `features.7.`, `layer2.`).
    A name without one belongs to the input before the first block, to the output after the last, and in
    between to the block before it (DenseNet's transitions), as the network lists its parameters.
    """
    numbers = [_number(name) for name in names]
    last = max((i for i, n in enumerate(numbers) if n is not None), default=-1)
    groups: dict[tuple[int, int], list[str]] = {}
    block: int | None = None
    for i, (name, number) in enumerate(zip(names, numbers, strict=True)):
        block = number if number is not None else block
        if block is None or (number is None and _SHARED.search(name)):
            where = (0, 0)
        elif i > last:
            where = (2, 0)
        else:
            where = (1, block)
        groups.setdefault(where, []).append(name)
    words = {0: "input", 2: "output"}
    return [(words.get(kind, f"block {n}"), groups[kind, n]) for kind, n in sorted(groups)]


def _number(name: str) -> int | None:
    found = _BLOCK.search(name)
    return next(int(n) for n in found.groups() if n is not None) if found else None
