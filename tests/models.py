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
    quick = {"init_weights": False} if architecture in ("googlenet", "inception_v3") else {}
    net = models.get_model(architecture, weights=None, num_classes=5, **quick)
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


def cloud(seed: int, width: int = 200, height: int = 150) -> Any:
    """A picture with shapes of several sizes, unlike all others."""
    from PIL import Image

    draw = np.random.default_rng(seed)
    whole = np.zeros((height, width, 3))
    for cells, strength in ((4, 90.0), (12, 50.0), (24, 30.0)):
        layer = Image.fromarray(draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        whole += (np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC)) - 128.0) * strength / 128
    return Image.fromarray(np.clip(whole + 128, 0, 255).astype(np.uint8))


# ---------------------------------------------------------------------- architectures that people name, made small


def timm_small(folder: Path, architecture: str, side: int = SIDE, seed: int = 0, **args: Any) -> Path:
    """A timm architecture made small by arguments of its own (`model_args`), with random weights and 5 classes."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    net = timm.create_model(architecture, pretrained=False, num_classes=5, **args)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors")
    settings = {"input_size": [3, side, side], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3}
    config = {"architecture": architecture, "num_classes": 5, "model_args": args, "pretrained_cfg": settings}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


TEXT_KINDS: dict[str, dict[str, Any]] = {
    "bert": {"type_vocab_size": 2},
    "minilm": {"num_hidden_layers": 3},
    "roberta": {"max_position_embeddings": 66},
    "distilbert": {},
    "deberta-v2": {
        "relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "max_relative_positions": -1,
        "type_vocab_size": 0,
    },
    "xlnet": {},
    "modernbert": {"local_attention": 8, "global_attn_every_n_layers": 2},
    "albert": {"embedding_size": 16},
    "mpnet": {"max_position_embeddings": 66},
}  # fmt: skip
"""What makes each family itself; sizes and special tokens are added by `text_folder`."""

_SIZES = {
    "distilbert": ("dim", "n_layers", "n_heads", "hidden_dim"),
    "xlnet": ("d_model", "n_layer", "n_head", "d_inner"),
}
_USUAL_SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_SPECIAL = {  # padding, unknown, start, end, in the order of their ids
    "roberta": ("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    "mpnet": ("<s>", "<pad>", "</s>", "[UNK]", "<mask>"),
    "xlnet": ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"),
    "albert": ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
}
_BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def text_folder(folder: Path, kind: str, seed: int = 0) -> Path:
    """A text encoder of a family, with random weights and a tokenizer.json as that family uses."""
    import torch
    from transformers import AutoConfig, AutoModel

    tokenizer = _tokenizer(kind)
    vocabulary = tokenizer.get_vocab()
    sizes = dict(zip(_SIZES.get(kind, _USUAL_SIZES), (32, 2, 2, 64), strict=True))
    pad = next(t for t in vocabulary if t in ("[PAD]", "<pad>"))
    special: dict[str, Any] = {"vocab_size": len(vocabulary), "pad_token_id": vocabulary[pad]}
    if kind == "modernbert":  # else ids of its own large vocabulary
        special |= {f"{n}_token_id": vocabulary[t] for n, t in zip(("cls", "sep"), ("[CLS]", "[SEP]"), strict=True)}
        special |= {"bos_token_id": vocabulary["[CLS]"], "eos_token_id": vocabulary["[SEP]"]}
    if kind != "xlnet":
        special["max_position_embeddings"] = 64
    config = AutoConfig.for_model("bert" if kind == "minilm" else kind, **{**sizes, **special, **TEXT_KINDS[kind]})
    torch.manual_seed(seed)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _tokenizer(kind: str) -> Any:
    """WordPiece for BERT's family, byte-level BPE for RoBERTa's and ModernBERT, Unigram where it was sentencepiece."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = list(_SPECIAL.get(kind, _BERT_SPECIAL))
    unknown = next(t for t in special if t in ("[UNK]", "<unk>"))
    words = [" ".join([*GOOD, *BAD, *FILLER])] * 3
    if kind in ("roberta", "modernbert"):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    elif kind in ("deberta-v2", "xlnet", "albert"):
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=special, unk_token=unknown)
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token=unknown))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=special)
    tokenizer.train_from_iterator(words, trainer)
    ids = tokenizer.get_vocab()
    start, end = {"roberta": ("<s>", "</s>"), "mpnet": ("<s>", "</s>"), "xlnet": ("<cls>", "<sep>")}.get(
        kind, ("[CLS]", "[SEP]")
    )
    single = f"$A {end} {start}" if kind == "xlnet" else f"{start} $A {end}"  # XLNet's <cls> comes last
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(start, ids[start]), (end, ids[end])]
    )
    return tokenizer


PICTURE_KINDS: dict[str, dict[str, Any]] = {
    "vit": {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "image_size": 32, "patch_size": 8,
    },
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 4},
    "mobilenet_v1": {"depth_multiplier": 0.25, "image_size": 32},
    "mobilenet_v2": {"depth_multiplier": 0.25, "image_size": 32},
    "swin": {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "image_size": 32},
}  # fmt: skip


def vision_folder(folder: Path, kind: str, seed: int = 0) -> Path:
    """A picture classifier of the transformers library, 5 classes, with random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification

    torch.manual_seed(seed)
    config = AutoConfig.for_model(kind, num_labels=5, **PICTURE_KINDS[kind])
    AutoModelForImageClassification.from_config(config).save_pretrained(folder)
    side = {"height": SIDE, "width": SIDE}
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": side, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2})
    )
    return folder
