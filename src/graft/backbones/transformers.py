"""Text encoders and picture networks of the transformers library, from the hub or its folder format."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from graft import hub
from graft.backbones import _cards, _channels, _texts, _weights, hf
from graft.backbones._picture import Preprocess, from_transformers, preprocess, stack
from graft.backbones._stages import group_by_depth
from graft.data import Note, Sample
from graft.errors import DataError, SecurityError, some
from graft.files import read_json
from graft.heads import SourceHead
from graft.model import Backbone, Card, Encoded, Features
from graft.pooling import over_tokens

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
MOST_TOKENS = 256
TOKENIZER, PICTURES = "tokenizer.json", "preprocessor_config.json"
ROOM = 10_000_000  # weights beyond twice those of the file that a config may ask for: poolers, heads
MOST_LAYERS = 1000
"""More layers, heads or experts than any encoder has: a config that asks for more would build for hours."""


class TextEncoder(Backbone):
    """A transformer over token ids [b, t] (long, padded); pooled [b, d] is the mean over the tokens."""

    modality = "text"

    def __init__(
        self,
        config: PretrainedConfig,
        tokenizer: bytes,
        card: Card,
        limit: int,
        origin: dict[str, str] | None = None,
        cut: str = "head",
    ) -> None:
        super().__init__()
        self.net = _network(config, card.name)
        _without_pooler(self.net)
        self.cut = cut
        self.config, self.card, self.limit, self.origin = config, card, limit, origin
        self.dim = int(config.hidden_size)
        self.pad = int(config.pad_token_id or 0)
        self.batch_first = config.model_type != "xlnet"
        self._tokenizer_file = tokenizer
        self.tokenizer = _tokenizer(tokenizer, card.name)
        self.tokenizer.no_padding()
        if cut == "head":
            self.tokenizer.enable_truncation(limit)
        self._check_vocabulary()

    def _check_vocabulary(self) -> None:
        """Refuse a tokenizer of another model: ids that the embedding has not, or another padding."""
        words = int(self.net.get_input_embeddings().weight.shape[0])
        vocabulary = self.tokenizer.get_vocab()
        beyond = sorted((t for t, i in vocabulary.items() if i >= words), key=lambda t: vocabulary[t])
        if beyond:
            raise DataError(
                f"{self.card.name}: the tokenizer has {len(vocabulary)} tokens, the model {words} ({some(beyond, 3)} "
                "are beyond it); the tokenizer.json is another model's"
            )
        if not 0 <= self.pad < words:
            raise DataError(f"{self.card.name}: pad_token_id is {self.pad}, and the model has {words} tokens")

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        found = self.tokenizer.encode(str(x))
        ids, offsets = _texts.ends(found.ids, self.limit), _texts.ends(found.offsets, self.limit)
        ids = ids[:size] if size else ids
        return Encoded(torch.tensor(ids or [self.pad], dtype=torch.long), offsets[: len(ids)])

    def notes(self, samples: Sequence[Sample]) -> list[Note]:
        return _texts.notes(self.tokenizer, self.limit, [str(s.x) for s in samples], self.cut)

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence(xs, batch_first=True, padding_value=self.pad)

    def stages(self) -> list[tuple[str, list[str]]]:
        return group_by_depth([n for n, _ in self.named_parameters()])

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.net.get_input_embeddings()(x)
        return embedded

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        given = {"input_ids": x} if embedded is None else {"inputs_embeds": embedded}
        tokens = self.net(attention_mask=self._seen(x, mask).long(), **given).last_hidden_state  # [b, t, d]
        return self.pool(tokens, x, mask)

    def pool(self, found: torch.Tensor, x: torch.Tensor, mask: torch.Tensor | None = None) -> Features:
        seen = self._seen(x, mask)
        return Features(over_tokens(found, seen), tokens=found, mask=seen)

    def _seen(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Which tokens count, [b, t]; an empty text still has one."""
        seen = (x != self.pad) if mask is None else mask
        return seen | (torch.arange(x.shape[1], device=x.device) == 0)

    def describe(self) -> dict[str, Any]:
        return {
            "source": "transformers",
            "kind": "text",
            "config": _plain(self.config),
            "limit": self.limit,
            **({"cut": self.cut} if self.cut != "head" else {}),
            **({"origin": self.origin} if self.origin else {}),
        }

    def assets(self) -> dict[str, bytes]:
        return {TOKENIZER: self._tokenizer_file}


class PictureNetwork(Backbone):
    """A picture network; pooled [b, d] is what its own classifier reads: the first token, else the pooled map."""

    modality = "picture"

    def __init__(
        self, config: PretrainedConfig, prepare: Preprocess, card: Card, origin: dict[str, str] | None = None
    ) -> None:
        super().__init__()
        self.net = _network(config, card.name)
        self.config, self.prepare, self.card, self.origin = config, prepare, card, origin
        self.channels = int(config.num_channels)
        names = [n for n, _ in self.net.named_parameters()]
        # ViT's pooler is a layer for another task, which classifiers (and their checkpoints) leave out.
        self.class_token = any(n.endswith("cls_token") for n in names)
        self.first_token = self.class_token and any("pooler.dense" in n for n in names)
        if self.first_token:
            _without_pooler(self.net)
        self.eval()
        with torch.no_grad():
            self.dim = int(self(torch.zeros(1, self.channels, prepare.size, prepare.size)).pooled.shape[1])

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        return self.prepare(x, size)

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return stack(xs)

    def stages(self) -> list[tuple[str, list[str]]]:
        return group_by_depth([n for n, _ in self.named_parameters() if not n.startswith("source_head.")])

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.net.embeddings(x)
        return embedded

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        out = self.net(pixel_values=x)
        last = out.last_hidden_state
        pooler = None if self.first_token else getattr(out, "pooler_output", None)
        if last.ndim == 4:
            pooled = pooler.flatten(1) if pooler is not None else last.mean(dim=(2, 3))
            return Features(pooled, maps=(last,))
        return Features(last[:, 0] if pooler is None else pooler, tokens=last)

    def pool(self, found: torch.Tensor, x: torch.Tensor, mask: torch.Tensor | None = None) -> Features:
        if found.ndim != 3 or not self.class_token:
            return super().pool(found, x, mask)
        patches = getattr(self.config, "use_mean_pooling", False)  # BEiT's and Data2Vec's poolers
        return Features(found[:, 1:].mean(dim=1) if patches else found[:, 0], tokens=found)

    def describe(self) -> dict[str, Any]:
        return {
            "source": "transformers",
            "kind": "picture",
            "config": _plain(self.config),
            "preprocess": self.prepare.describe(),
            **({"channels": self.channels} if self.channels != _channels.USUAL else {}),
            **({"origin": self.origin} if self.origin else {}),
        }


def names(pattern: str = "") -> list[str]:
    """None by pattern: the hub is not listed; give `transformers:OWNER/NAME`."""
    return []


def load(name: str, schema: Any = None) -> Backbone:
    """`transformers:OWNER/NAME[@REVISION]`, a text encoder or picture network with safetensors on the hub."""
    return hf.fetch("transformers", name, schema)


def from_folder(folder: Path, name: str, schema: Any = None, fetched: hub.Fetched | None = None) -> Backbone:
    """transformers' folder format; a tokenizer.json makes it a text encoder. Raises DataError, SecurityError."""
    raw = _weights.read_config(folder / "config.json")
    config = _config(raw, folder)
    tensors = _weights.read_weights(folder)
    license, data = (fetched.license, ", ".join(fetched.datasets)) if fetched else ("unknown", "")
    card = _cards.card(folder / hub.WEIGHTS, name, tensors, license=license, trained_on=data or "unknown")
    origin = fetched.origin() if fetched else None
    _refuse_outsized(config, tensors, folder)
    backbone: TextEncoder | PictureNetwork
    if (folder / TOKENIZER).is_file():
        limit = _limit(folder, config)
        backbone = TextEncoder(
            config, (folder / TOKENIZER).read_bytes(), replace(card, size=card.size or limit), limit, origin,
            (schema or {}).get("long_texts", "head"),
        )  # fmt: skip
    elif (folder / PICTURES).is_file():
        backbone = _picture_network(folder, config, card, tensors, _channels.asked(schema), origin)
    else:
        raise DataError(
            f"{folder}: neither {TOKENIZER} (a text encoder) nor {PICTURES} (a picture network) is in it. For a text "
            "encoder with another tokenizer file, make it with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    _fill(backbone.net, tensors, str(folder))
    if isinstance(backbone, PictureNetwork):  # heads of text models read another pooling than the mean
        backbone.source_head = _source_head(tensors, backbone.dim, len(raw.get("id2label") or ()), folder)
    backbone.eval()
    return backbone


def _refuse_outsized(config: PretrainedConfig, tensors: dict[str, torch.Tensor], folder: Path) -> None:
    """Raise DataError where a config asks for far more weights than there are, before memory is taken for them."""
    with torch.device("meta"):
        asked = sum(p.numel() for p in _network(config, str(folder)).parameters())
    given = sum(t.numel() for t in tensors.values())
    if asked > 2 * given + ROOM:
        raise DataError(f"{folder}: config.json asks for {asked:,} weights, and its weights file has {given:,}")


def _picture_network(
    folder: Path,
    config: PretrainedConfig,
    card: Card,
    tensors: dict[str, torch.Tensor],
    channels: int,
    origin: dict[str, str] | None,
) -> PictureNetwork:
    """The network, still with random weights; where it takes other channels, its first `tensors` are adapted."""
    prepare = from_transformers(read_json(folder / PICTURES))
    if channels != _channels.USUAL:
        with torch.device("meta"):
            net = AutoModel.from_config(config)
        for path in _channels.first_layers(net, None, str(folder)):
            for name in [n for n in tensors if n == f"{path}.weight" or n.endswith(f".{path}.weight")]:
                tensors[name] = _channels.adapt(tensors[name], channels)
        config.num_channels = channels
        prepare = _channels.preparing(prepare, channels)
    return PictureNetwork(config, prepare, replace(card, size=card.size or prepare.size), origin)


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """The same network with random weights."""
    config = _config(dict(description["config"]), assets)
    card, origin = Card(str(description["config"].get("model_type"))), description.get("origin")
    if description["kind"] == "text":
        limit = int(description["limit"])
        made = (config, (assets / TOKENIZER).read_bytes(), replace(card, size=limit), limit, origin)
        return TextEncoder(*made, description.get("cut", "head"))
    prepare = preprocess(description["preprocess"])
    return PictureNetwork(config, prepare, replace(card, size=prepare.size), origin)


def _fill(net: PreTrainedModel, tensors: dict[str, torch.Tensor], where: str) -> None:
    """Give a network its weights by the library's own renaming of older names, and refuse what does not fit.

    A checkpoint of a whole model (with heads) fits too: heads are left over. Only the pooler may be new.
    """
    filled, said = type(net).from_pretrained(
        None, config=net.config, state_dict=dict(tensors), output_loading_info=True, ignore_mismatched_sizes=True
    )
    wrong = [f"{n} {list(a)} for {list(b)}" for n, a, b in said["mismatched_keys"]]
    missing = [n for n in said["missing_keys"] if not re.search(r"(^|\.)pooler\.", n)]
    own = {n.split(".")[0] for n, _ in net.named_parameters()} | {net.base_model_prefix}
    extra = [n for n in said["unexpected_keys"] if n.split(".")[0] in own and not _old(n)]
    _weights.refuse_misfit(where, missing, extra, wrong)
    own_names = net.state_dict().keys()
    net.load_state_dict({k: v for k, v in filled.state_dict().items() if k in own_names})


def _old(name: str) -> bool:
    return re.search(r"position_ids$|(^|\.)pooler\.|(^|\.)(relative_position_index|mask_token)$", name) is not None


def _without_pooler(net: Any) -> None:
    """Take off a pooler that is not read: without gradients it would be a stage, and random where it is missing."""
    if "add_pooling_layer" in inspect.signature(type(net).__init__).parameters:
        net.pooler = None


def _network(config: PretrainedConfig, where: str) -> Any:
    try:
        net = AutoModel.from_config(config)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as e:
        raise DataError(f"{where}: transformers cannot build it from its config ({str(e).splitlines()[0]})") from e
    if config.is_encoder_decoder:
        raise DataError(f"{where}: a {config.model_type} encodes and decodes; an encoder is expected")
    return net


def _tokenizer(content: bytes, where: str) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(content)
    except Exception as e:  # the library raises Exception itself
        raise DataError(f"{where}: {TOKENIZER} is damaged, or of another version of tokenizers ({e})") from e


def _source_head(tensors: dict[str, torch.Tensor], dim: int, said: int, folder: Path) -> SourceHead | None:
    """The classifier of the pretraining task, None where there is none for pooled features.

    Raises DataError where config.json names another number of classes (`said`, 0: none) than it has.
    """
    for path in ("classifier", "classifier.1"):  # the second is ResNet's, behind a flattening
        weight, bias = tensors.get(f"{path}.weight"), tensors.get(f"{path}.bias")
        if weight is not None and bias is not None and weight.ndim == 2 and weight.shape[1] == dim:
            if said and said != len(weight):
                raise DataError(
                    f"{folder}: its classifier is of {len(weight)} classes and config.json names {said} (id2label); "
                    "make them agree, or take the classifier out of the weights"
                )
            linear = nn.Linear(dim, len(weight))
            linear.load_state_dict({"weight": weight, "bias": bias})
            return SourceHead(linear)
    return None


def _config(raw: dict[str, Any], folder: Path) -> PretrainedConfig:
    """A config of a known model type, from plain values. Nothing of the folder's own is imported."""
    kind = raw.get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise DataError(f"{folder}: model_type {kind!r} is not one that transformers {transformers.__version__} brings")
    if kind in ("timm_wrapper", "timm_backbone") or isinstance(raw.get("backbone"), str):
        raise SecurityError(f"{folder}: a {kind} fetches another model by name, and is refused; name that one itself")
    drop = ("model_type", "dtype", "torch_dtype", "transformers_version", "reference_compile")
    values = {k: v for k, v in raw.items() if k not in drop}
    _weights.refuse_hostile(values, folder)
    large = [
        k
        for k, v in values.items()
        if isinstance(v, int) and v > MOST_LAYERS and re.search(r"(layers?|heads|experts|blocks)$", k)
    ]
    if large:
        raise DataError(f"{folder}: {large[0]} is {values[large[0]]}, more than any encoder has")
    try:
        config = AutoConfig.for_model(kind, **values)
    except Exception as e:  # the library's strict dataclasses raise errors of their own kinds
        raise DataError(f"{folder}: config.json is no {kind}'s ({str(e).splitlines()[0]})") from e
    if kind == "xlnet":  # its memories of earlier batches have no place here
        config.use_mems_eval = config.use_mems_train = False
    return config


def _plain(config: PretrainedConfig) -> dict[str, Any]:
    drop = ("id2label", "label2id", "architectures", "_name_or_path")
    raw = {k: v for k, v in config.to_diff_dict().items() if k not in drop and not k.startswith("_")}
    return {**raw, "model_type": config.model_type}


def _limit(folder: Path, config: PretrainedConfig) -> int:
    """Tokens a text is cut to: what the model was trained for, at most `MOST_TOKENS`."""
    file = folder / "sentence_bert_config.json"
    said = int(read_json(file).get("max_seq_length", MOST_TOKENS)) if file.is_file() else MOST_TOKENS
    positions = int(getattr(config, "max_position_embeddings", 0) or 0)
    positions = positions if positions > 0 else MOST_TOKENS + 2  # XLNet's are relative: it says -1
    return max(8, min(said, MOST_TOKENS, positions - 2))
