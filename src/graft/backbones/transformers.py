"""Text encoders and picture networks of the transformers library, from the hub or its folder format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from graft import hub
from graft.backbones import _weights
from graft.backbones._picture import Preprocess, from_transformers, preprocess, stack
from graft.errors import DataError
from graft.files import read_json
from graft.heads import SourceHead
from graft.model import Backbone, Card, Encoded, Features

transformers.logging.set_verbosity_error()
MOST_TOKENS = 256
WEIGHTS, TOKENIZER, PICTURES = "model.safetensors", "tokenizer.json", "preprocessor_config.json"


class TextEncoder(Backbone):
    """A transformer over token ids [b, t] (long, padded); pooled [b, d] is the mean over the tokens."""

    modality = "text"

    def __init__(self, config: PretrainedConfig, tokenizer: bytes, card: Card, limit: int) -> None:
        super().__init__()
        self.net = AutoModel.from_config(config)
        self.config, self.card, self.limit = config, card, limit
        self.dim = int(config.hidden_size)
        self.pad = int(config.pad_token_id or 0)
        self._tokenizer_file = tokenizer
        self.tokenizer = Tokenizer.from_buffer(tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(limit)
        words = int(config.vocab_size)
        if self.tokenizer.get_vocab_size() > words:
            raise DataError(
                f"{card.name}: the tokenizer has {self.tokenizer.get_vocab_size()} tokens, the model {words}"
            )

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        found = self.tokenizer.encode(str(x))
        ids = found.ids[:size] if size else found.ids
        return Encoded(torch.tensor(ids or [self.pad], dtype=torch.long), found.offsets[: len(ids)])

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence(xs, batch_first=True, padding_value=self.pad)

    def stages(self) -> list[tuple[str, list[str]]]:
        return _weights.group_by_depth([n for n, _ in self.named_parameters()])

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.net.get_input_embeddings()(x)
        return embedded

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        seen = (x != self.pad) if mask is None else mask  # [b, t]
        seen = seen | (torch.arange(x.shape[1], device=x.device) == 0)  # an empty text still has one token
        given = {"input_ids": x} if embedded is None else {"inputs_embeds": embedded}
        tokens = self.net(attention_mask=seen.long(), **given).last_hidden_state  # [b, t, d]
        share = seen.unsqueeze(2).to(tokens.dtype)
        return Features((tokens * share).sum(dim=1) / share.sum(dim=1), tokens=tokens, mask=seen)

    def describe(self) -> dict[str, Any]:
        return {"source": "transformers", "kind": "text", "config": _plain(self.config), "limit": self.limit}

    def assets(self) -> dict[str, bytes]:
        return {TOKENIZER: self._tokenizer_file}


class PictureNetwork(Backbone):
    """A picture network; pooled [b, d] is the first token, or what its pooler (else the mean) makes of the map."""

    modality = "picture"

    def __init__(self, config: PretrainedConfig, prepare: Preprocess, card: Card) -> None:
        super().__init__()
        self.net = AutoModel.from_config(config)
        self.config, self.prepare, self.card = config, prepare, card
        self.eval()
        with torch.no_grad():
            self.dim = int(self(torch.zeros(1, 3, prepare.size, prepare.size)).pooled.shape[1])

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        return self.prepare(x, size)

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return stack(xs)

    def stages(self) -> list[tuple[str, list[str]]]:
        return _weights.group_by_depth([n for n, _ in self.named_parameters() if not n.startswith("source_head.")])

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.net.embeddings(x)
        return embedded

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        out = self.net(pixel_values=x)
        last = out.last_hidden_state
        pooler = getattr(out, "pooler_output", None)
        if last.ndim == 4:
            pooled = pooler.flatten(1) if pooler is not None else last.mean(dim=(2, 3))
            return Features(pooled, maps=(last,))
        return Features(last[:, 0], tokens=last)

    def describe(self) -> dict[str, Any]:
        prepare = self.prepare.describe()
        return {"source": "transformers", "kind": "picture", "config": _plain(self.config), "preprocess": prepare}


def names(pattern: str = "") -> list[str]:
    """None by pattern: the hub is not listed; give `transformers:OWNER/NAME`."""
    return []


def load(name: str, schema: Any = None) -> Backbone:
    """`transformers:OWNER/NAME`, a text encoder or picture network with safetensors on the hub."""
    folder = hub.fetch(name, ["config.json", WEIGHTS], [TOKENIZER, PICTURES, "sentence_bert_config.json"])
    return from_folder(folder, f"transformers:{name}")


def from_folder(folder: Path, name: str) -> Backbone:
    """transformers' folder format; a tokenizer.json makes it a text encoder. Raises DataError, SecurityError."""
    raw = _weights.read_config(folder / "config.json")
    config = _config(raw, folder)
    tensors = _weights.read_weights(folder)
    card = _weights.card(folder, name, tensors)
    backbone: TextEncoder | PictureNetwork
    if (folder / TOKENIZER).is_file():
        backbone = TextEncoder(config, (folder / TOKENIZER).read_bytes(), card, _limit(folder, config))
    elif (folder / PICTURES).is_file():
        backbone = PictureNetwork(config, from_transformers(read_json(folder / PICTURES)), card)
    else:
        raise DataError(f"{folder}: neither {TOKENIZER} (a text encoder) nor {PICTURES} (a picture network) is in it")
    prefix = f"{backbone.net.base_model_prefix}."
    if prefix != "." and any(k.startswith(prefix) for k in tensors):
        heads = {k: v for k, v in tensors.items() if not k.startswith(prefix)}
        tensors = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    else:
        heads = {k: v for k, v in tensors.items() if k.split(".")[0] in ("classifier", "cls", "lm_head")}
        tensors = {k: v for k, v in tensors.items() if k not in heads}
    _weights.fit_weights(backbone.net, tensors, str(folder), new=r"(^|\.)pooler\.", old=r"position_ids$|(^|\.)pooler\.")
    backbone.source_head = _source_head(heads, backbone.dim)
    backbone.eval()
    return backbone


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """The same network with random weights."""
    config = _config(dict(description["config"]), assets)
    card = Card(str(description["config"].get("model_type")))
    if description["kind"] == "text":
        return TextEncoder(config, (assets / TOKENIZER).read_bytes(), card, int(description["limit"]))
    return PictureNetwork(config, preprocess(description["preprocess"]), card)


def _source_head(heads: dict[str, torch.Tensor], dim: int) -> SourceHead | None:
    weight, bias = heads.get("classifier.weight"), heads.get("classifier.bias")
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[1] != dim:
        return None
    linear = nn.Linear(dim, len(weight))
    linear.load_state_dict({"weight": weight, "bias": bias})
    return SourceHead(linear)


def _config(raw: dict[str, Any], folder: Path) -> PretrainedConfig:
    """A config of a known model type, from plain values. Nothing of the folder's own is imported."""
    kind = raw.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise DataError(f"{folder}: model_type {kind!r} is not one that transformers {transformers.__version__} brings")
    values = {k: v for k, v in raw.items() if k not in ("model_type", "dtype", "torch_dtype", "transformers_version")}
    _weights.refuse_hostile(values, folder)
    return AutoConfig.for_model(kind, **values)


def _plain(config: PretrainedConfig) -> dict[str, Any]:
    drop = ("id2label", "label2id", "architectures", "_name_or_path")
    raw = {k: v for k, v in config.to_diff_dict().items() if k not in drop and not k.startswith("_")}
    return {**raw, "model_type": config.model_type}


def _limit(folder: Path, config: PretrainedConfig) -> int:
    """Tokens a text is cut to: what the model was trained for, at most `MOST_TOKENS`."""
    file = folder / "sentence_bert_config.json"
    said = int(read_json(file).get("max_seq_length", MOST_TOKENS)) if file.is_file() else MOST_TOKENS
    positions = int(getattr(config, "max_position_embeddings", MOST_TOKENS))
    return max(8, min(said, MOST_TOKENS, positions - 2))
