"""Tiny real model folders and tiny learnable data, made on the spot."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 32  # pixels
GOOD = ("lovely", "great", "happy", "bright", "warm", "kind")
BAD = ("awful", "broken", "sad", "grim", "cold", "rude")
FILLER = ("the", "a", "film", "meal", "day", "room", "was", "and", "very", "quite", "service", "today")


def timm_folder(folder: Path, architecture: str = "test_byobnet", seed: int = 0, **config: Any) -> Path:
    """A timm network with random weights in timm's own folder format."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    net = timm.create_model(architecture, pretrained=False, num_classes=5)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors")
    settings = {"input_size": [3, SIDE, SIDE], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "license": "mit"}
    known = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": settings}
    (folder / "config.json").write_text(json.dumps({**known, **config}))
    return folder


def torchvision_folder(folder: Path, architecture: str = "squeezenet1_1", seed: int = 0) -> Path:
    """A torchvision network with random weights, as the folders of ../shared/zoo have it."""
    import torch
    from safetensors.torch import save_file
    from torchvision import models

    torch.manual_seed(seed)
    net = models.get_model(architecture, weights=None, num_classes=5)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors")
    known = {"library": "torchvision", "architecture": architecture, "num_classes": 5}
    (folder / "config.json").write_text(
        json.dumps({**known, "preprocessing": {"input_size": [3, 64, 64], "crop_pct": 1.0}})
    )
    return folder


def bert_folder(folder: Path, words: Sequence[str] = (), seed: int = 0) -> Path:
    """A BERT of two layers with random weights and a word-level tokenizer.json."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel

    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*GOOD, *BAD, *FILLER, *words])]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(known),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def texts(n: int = 80, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) of two classes that a few words tell apart; all texts differ."""
    draw = np.random.default_rng(seed)
    rows: dict[str, str] = {}
    while len(rows) < n:
        label = ("good", "bad")[len(rows) % 2]
        words = [*draw.choice(GOOD if label == "good" else BAD, 2), *draw.choice(FILLER, int(draw.integers(3, 8)))]
        rows.setdefault(" ".join(draw.permutation(words)), label)
    return list(rows.items())


def write_csv(path: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "label")) -> Path:
    """Rows below a header, as UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def picture(label: str, seed: int) -> Any:
    """A disc or a square at a random place, in a random warm or cold colour, on noise."""
    from PIL import Image, ImageDraw

    draw = np.random.default_rng([seed, len(label)])
    image = Image.fromarray(draw.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8))
    left, top, size = (int(v) for v in draw.integers(2, 10, 3))
    box = (left, top, left + 10 + size, top + 10 + size)
    warm = (int(draw.integers(180, 255)), int(draw.integers(80, 160)), 40)
    pen = ImageDraw.Draw(image)
    pen.ellipse(box, fill=warm) if label == "disc" else pen.rectangle(box, fill=warm[::-1])
    return image


def picture_folder(root: Path, n: int = 48, labels: Sequence[str] = ("disc", "square"), seed: int = 0) -> Path:
    """`root/LABEL/NNN.png`, n pictures in all."""
    for i in range(n):
        label = labels[i % len(labels)]
        (root / label).mkdir(parents=True, exist_ok=True)
        picture(label if label in ("disc", "square") else ("disc", "square")[i % 2], seed * 10_000 + i).save(
            root / label / f"{i:03d}.png"
        )
    return root
