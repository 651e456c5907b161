"""A run's network as a transformers model, and in folders of transformers and sentence-transformers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from graft.backbones._picture import Preprocess
from graft.backbones.transformers import PICTURES, TOKENIZER, PictureNetwork, TextEncoder
from graft.files import write_json, write_whole
from graft.hooks._folder import new_folder
from graft.hooks._parts import Parts, answers, noise, parts, same

if TYPE_CHECKING:
    from graft.run import Run

PROBLEMS = {"classes": "single_label_classification", "labels": "multi_label_classification", "numbers": "regression"}
RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3}  # Pillow's numbers


def export(run: Run, folder: str | Path | None) -> PreTrainedModel:
    """See `graft.hooks.to_transformers`."""
    if run.meta["backbone"]["description"].get("kind") == "text":
        return _text(parts(run, "transformers", TextEncoder), folder)
    return _picture(parts(run, "transformers", PictureNetwork), folder)


def _picture(own: Parts[PictureNetwork], folder: str | Path | None) -> PreTrainedModel:
    net = _with_head(own) or _encoder(own)
    if folder is not None:
        with new_folder(folder) as work:
            _save(net, work)
            write_json(work / PICTURES, _processor(own.backbone.prepare))
    return net


def _text(own: Parts[TextEncoder], folder: str | Path | None) -> PreTrainedModel:
    net = _encoder(own)
    if folder is not None:
        with new_folder(folder) as work:
            _save(net, work)
            _tokenizer(own.backbone, work)
            _sentence_transformer(own, work)
    return net


def _encoder(own: Parts[TextEncoder] | Parts[PictureNetwork]) -> PreTrainedModel:
    """The encoder as it is; its config tells the labels, for who adds the head."""
    net: PreTrainedModel = own.backbone.net
    _describe(net.config, own)
    return net.eval()


def _describe(config: PreTrainedConfig, own: Parts[Any]) -> None:
    if own.labels:
        config.id2label = dict(enumerate(own.labels))
        config.label2id = {label: i for i, label in enumerate(own.labels)}
    if own.linear is not None and own.outputs in PROBLEMS:
        config.problem_type = PROBLEMS[own.outputs]


@torch.no_grad()
def _with_head(own: Parts[PictureNetwork]) -> PreTrainedModel | None:
    """The model for classification with the trained classifier, or None where that gives other scores."""
    if own.linear is None:
        return None
    backbone = own.backbone
    config = copy.deepcopy(backbone.config)
    config.num_labels = own.outs
    _describe(config, own)
    try:
        net: PreTrainedModel = AutoModelForImageClassification.from_config(config)
    except ValueError:  # this kind of model has none
        return None
    if net.base_model is net or not _same_encoder(net.base_model, backbone.net.state_dict()):
        return None
    inside = {id(m) for m in net.base_model.modules()}
    layers = [m for m in net.modules() if isinstance(m, nn.Linear) and id(m) not in inside]
    if len(layers) != 1 or layers[0].weight.shape != own.linear.weight.shape or layers[0].bias is None:
        return None
    layers[0].load_state_dict(own.linear.state_dict())
    net.eval()
    x = noise(2, int(getattr(config, "num_channels", 3)), backbone.prepare.size, backbone.prepare.size)
    return net if same(answers(own, x), net(pixel_values=x).logits) else None


def _same_encoder(encoder: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    """Load an encoder's weights; a pooler that the classifier does not read may be left out."""
    fits = {k: v for k, v in weights.items() if not k.startswith("pooler.") or k in encoder.state_dict()}
    try:
        encoder.load_state_dict(fits)
    except RuntimeError:
        return False
    return True


# ------------------------------------------------------------------------------------------ folders


def _save(net: PreTrainedModel, work: Path) -> None:
    """config.json and model.safetensors, without the progress bar that comes with them."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        net.save_pretrained(work)
    finally:
        if shown:
            logging.enable_progress_bar()


def _processor(prepare: Preprocess) -> dict[str, Any]:
    """An image processor that scales the shorter side, cuts the centre and normalises, as graft does."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True, "size": {"shortest_edge": int(prepare.size / prepare.crop)},
        "resample": RESAMPLE[prepare.interpolation],
        "do_center_crop": True, "crop_size": {"height": prepare.size, "width": prepare.size},
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": list(prepare.mean), "image_std": list(prepare.std),
    }  # fmt: skip


def _tokenizer(backbone: TextEncoder, work: Path) -> None:
    write_whole(work / TOKENIZER, backbone.assets()[TOKENIZER])
    said: dict[str, Any] = {
        # The file says all that there is to know; a class of a model's own would build another one from its words.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": backbone.limit,
        # Segments are all zero, which is what models that know them take for granted; others refuse them.
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    pad = backbone.tokenizer.id_to_token(backbone.pad)
    write_json(work / "tokenizer_config.json", said | ({"pad_token": pad} if pad else {}))


def _sentence_transformer(own: Parts[TextEncoder], work: Path) -> None:
    """Files of sentence-transformers: the encoder, then the mean over its tokens; the head in `classifier`."""
    from safetensors.torch import save_file

    kinds = {"": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    write_json(work / "modules.json", modules)
    write_json(work / "sentence_bert_config.json", {"max_seq_length": own.backbone.limit, "do_lower_case": False})
    (work / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": own.backbone.dim, "pooling_mode_mean_tokens": True}
    write_json(work / "1_Pooling" / "config.json", pooling)
    if own.linear is None:
        return
    (work / "classifier").mkdir()
    dense = {
        "in_features": own.backbone.dim, "out_features": own.outs, "bias": True,
        "activation_function": "torch.nn.modules.linear.Identity",
    }  # fmt: skip
    write_json(work / "classifier" / "config.json", dense)
    weights = {f"linear.{k}": v.detach().contiguous() for k, v in own.linear.state_dict().items()}
    save_file(weights, work / "classifier" / "model.safetensors")
