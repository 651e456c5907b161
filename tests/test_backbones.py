"""Every source and every architecture that people name: loaded from disk, described, rebuilt, trained a step."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from toy_tasks import Classes
from toys import stage_of, weights

import graft
from graft import backbones
from graft.backbones import _cards, _channels, _pickles
from graft.backbones._stages import group_by_depth
from graft.data import Data, Sample
from graft.errors import DataError, SecurityError, UsageError
from graft.methods.finetune import Finetune
from graft.model import Backbone, Model
from graft.train.loop import steps

SHARED = Path(__file__).parents[2] / "shared"

TIMM: dict[str, tuple[str, int, dict[str, Any]]] = {
    "resnet": ("test_resnet", 32, {}),
    "vit": ("test_vit", 32, {"img_size": 32}),
    "convnext": ("test_convnext", 32, {}),
    "mobilenetv1": ("mobilenetv1_100", 32, {}),
    "mobilenetv2": ("mobilenetv2_035", 32, {}),
    "mobilenetv3": ("mobilenetv3_small_050", 32, {}),
    "mobilenetv4": ("mobilenetv4_conv_small_035", 32, {}),
    "efficientnet": ("test_efficientnet", 32, {}),
    "resnet50": ("resnet50", 32, {"channels": [8, 8, 16, 16]}),
    "byobnet": ("test_byobnet", 32, {}),
}
TORCHVISION = ("squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x0_5")
LARGE = ("alexnet", "vgg16", "resnet50", "vit_b_16", "convnext_tiny", "googlenet", "inception_v3", "densenet121")


def folder_of(where: Path, source: str, kind: str) -> Path:
    """A model folder of a kind, made once a session by its test."""
    if source == "timm":
        architecture, side, args = TIMM[kind]
        return models.timm_small(where, architecture, side, **args)
    if source == "torchvision":
        return models.torchvision_folder(where, kind)
    return models.vision_folder(where, kind) if source == "vision" else models.text_folder(where, kind)


PICTURES = [
    *[("timm", k) for k in TIMM],
    *[("torchvision", k) for k in TORCHVISION],
    *[("vision", k) for k in models.PICTURE_KINDS],
]
TEXTS = [("text", k) for k in models.TEXT_KINDS]


def samples(modality: str, n: int = 8, channels: int = 3) -> list[Sample]:
    if modality == "text":
        return [Sample(text, int(label == "good"), f"t{i}") for i, (text, label) in enumerate(models.texts(n))]
    draw = np.random.default_rng(0)
    made: list[Any] = [models.picture(("disc", "square")[i % 2], i) for i in range(n)]
    if channels != 3:
        made = [draw.integers(0, 255, (40, 36, channels), dtype=np.uint8) for _ in range(n)]
    return [Sample(p, i % 2, f"p{i}") for i, p in enumerate(made)]


def batch(backbone: Backbone, given: list[Sample]) -> torch.Tensor:
    return backbone.collate([backbone.encode(s.x).x for s in given])


def features(backbone: Backbone, given: list[Sample]) -> torch.Tensor:
    backbone.eval()
    with torch.no_grad():
        return backbone(batch(backbone, given)).pooled


def covers_every_parameter(backbone: Backbone) -> None:
    """Each once, and `finetune:depth=1` never moves what the input goes through first."""
    named = [n for n, _ in backbone.named_parameters() if not n.startswith("source_head.")]
    stages = backbone.stages()
    listed = [n for _, names in stages for n in names]
    assert sorted(listed) == sorted(named)
    assert len(stages) >= (2 if backbone.dim == 32 else 3), stages  # ALBERT has one block, used again and again
    assert len({name for name, _ in stages}) == len(stages)
    first = next(n for n, _ in backbone.named_parameters() if "mask" not in n and "cls_token" not in n)
    assert first in stages[0][1]


def gradients_flow_in_order(backbone: Backbone, given: list[Sample]) -> None:
    """What a stage is said to come after does not depend on it: its outputs are computed first.

    Shown by hooks: the modules that own a stage's parameters run, the first time, in the order of the stages.
    """
    order: dict[str, int] = {}

    def note(name: str) -> Any:
        def hook(*_: Any) -> None:
            order.setdefault(name, len(order))

        return hook

    owners = {n.rpartition(".")[0] for _, names in backbone.stages() for n in names}
    hooks = [m.register_forward_pre_hook(note(name)) for name, m in backbone.named_modules() if name in owners]
    features(backbone, given)
    for hook in hooks:
        hook.remove()
    before = -1
    for _, names in backbone.stages():
        ran = [order[o] for o in {n.rpartition(".")[0] for n in names} if o in order]
        if ran:
            assert min(ran) > before
            before = min(ran)


def trains(backbone: Backbone, given: list[Sample]) -> None:
    """A few steps of the real loop change the weights of every stage that has a say, and nothing is lost."""
    task = Classes(("c0", "c1"))
    data = Data(given, given, given, labels=("c0", "c1"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model(backbone, task.head(backbone, data))
    before = weights(model)
    stage = stage_of(lr=1e-2, batch=4, epochs=2)
    records = list(steps(model, task, stage, data, [Finetune()], seed=0))
    assert len(records) == 4
    assert all(np.isfinite(v) for r in records for v in r.terms.values())
    after = weights(model)
    assert all(bool(torch.isfinite(v).all()) for v in after.values() if v.is_floating_point())
    changed = {n.removeprefix("backbone.") for n in after if not torch.equal(before[n], after[n])}
    for name, names in backbone.stages()[:-1]:
        assert changed & set(names), f"{name} never moved"


def survives_describe_and_build(backbone: Backbone, given: list[Sample], tmp_path: Path) -> Backbone:
    """The description is plain JSON, and the module built from it gives the same features with the same weights."""
    assets = tmp_path / "assets"
    assets.mkdir()
    for name, content in backbone.assets().items():
        (assets / name).write_bytes(content)
    described = json.loads(json.dumps(backbone.describe()))
    again = backbones.build(described, assets)
    again.source_head = None
    own = {k: v for k, v in backbone.state_dict().items() if not k.startswith("source_head.")}
    again.load_state_dict(own)
    assert torch.equal(features(again, given), features(backbone, given))
    assert again.describe() == backbone.describe()
    assert (again.dim, again.modality) == (backbone.dim, backbone.modality)
    return again


@pytest.mark.parametrize(("source", "kind"), [*PICTURES, *TEXTS], ids=lambda v: str(v))
def test_an_architecture_loads_describes_and_trains(source: str, kind: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", source, kind)
    backbone = backbones.load(f"local:{folder}")
    given = samples(backbone.modality)
    pooled = features(backbone, given)
    assert pooled.shape == (8, backbone.dim)
    assert bool(torch.isfinite(pooled).all())
    assert float(pooled.std(dim=0).max()) > 0  # samples are told apart
    covers_every_parameter(backbone)
    gradients_flow_in_order(backbone, given)
    survives_describe_and_build(backbone, given, tmp_path)
    trains(backbone, given)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE)
def test_a_large_architecture_of_torchvision_loads_describes_and_trains(kind: str, tmp_path: Path) -> None:
    folder = models.torchvision_folder(tmp_path / "model", kind)
    if kind in ("vit_b_16", "inception_v3"):
        side = 224 if kind == "vit_b_16" else 299
        config = json.loads((folder / "config.json").read_text())
        config["preprocessing"]["input_size"] = [3, side, side]
        (folder / "config.json").write_text(json.dumps(config))
    backbone = backbones.load(f"local:{folder}")
    given = samples("picture", 4)
    covers_every_parameter(backbone)
    gradients_flow_in_order(backbone, given)
    survives_describe_and_build(backbone, given, tmp_path)
    pooled = features(backbone, given)
    assert pooled.shape == (4, backbone.dim) and bool(torch.isfinite(pooled).all())
    data = Data(given, given, given, labels=("c0", "c1"))
    task = Classes(("c0", "c1"))
    model = Model(backbone, task.head(backbone, data))
    before = weights(model)
    records = list(steps(model, task, stage_of(lr=1e-3, batch=4, epochs=1), data, [Finetune()], seed=0))
    assert all(np.isfinite(v) for r in records for v in r.terms.values())
    assert not all(torch.equal(before[n], v) for n, v in weights(model).items())


@pytest.mark.parametrize(("source", "kind"), PICTURES, ids=lambda v: str(v))
def test_the_source_head_answers_as_the_whole_network_does(source: str, kind: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", source, kind)
    backbone = backbones.load(f"local:{folder}")
    x = batch(backbone, samples("picture"))
    whole = _whole_network(source, kind, folder)
    with torch.no_grad():
        expected = whole.eval()(x)
        expected = expected.logits if source == "vision" else expected
        if source == "torchvision" and kind.startswith("squeezenet"):
            assert backbone.source_head is None  # its classifier is a convolution over maps
            return
        assert backbone.source_head is not None
        said, _ = backbone.source_head(backbone.eval()(x), None)
    assert torch.allclose(said, expected, atol=1e-5)


def _whole_network(source: str, kind: str, folder: Path) -> Any:
    import timm
    from safetensors.torch import load_file
    from torchvision import models as zoo
    from transformers import AutoModelForImageClassification

    if source == "vision":
        return AutoModelForImageClassification.from_pretrained(folder)
    if source == "timm":
        architecture, _, args = TIMM[kind]
        net = timm.create_model(architecture, num_classes=5, **args)
    else:
        net = zoo.get_model(kind, weights=None, num_classes=5)
    net.load_state_dict(load_file(folder / "model.safetensors"))
    return net


# ------------------------------------------------------------------------------------------------ texts


@pytest.mark.parametrize("kind", models.TEXT_KINDS)
def test_a_text_is_the_same_alone_and_in_a_padded_batch(kind: str, tmp_path: Path) -> None:
    backbone = backbones.load(f"local:{models.text_folder(tmp_path / 'model', kind)}")
    given = ["lovely film", "the meal was awful and the room was cold and the service was rude", "kind"]
    whole = features(backbone, [Sample(t, 0, t) for t in given])
    for row, text in enumerate(given):
        alone = features(backbone, [Sample(text, 0, text)])
        assert torch.allclose(alone[0], whole[row], atol=1e-5), text
    assert not torch.allclose(whole[0], whole[1], atol=1e-3)


@pytest.mark.parametrize("kind", models.TEXT_KINDS)
def test_features_are_those_of_the_library_itself(kind: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = models.text_folder(tmp_path / "model", kind)
    backbone = backbones.load(f"local:{folder}")
    ids = backbone.encode("the film was great").x[None]
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state.mean(dim=1)
        said = backbone.eval()(ids)
        started = backbone(ids, embedded=backbone.embed(ids))
    assert torch.allclose(said.pooled, expected, atol=1e-6)
    assert torch.allclose(started.pooled, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlnet", "modernbert"])
def test_an_empty_and_a_long_text_have_features(kind: str, tmp_path: Path) -> None:
    backbone = backbones.load(f"local:{models.text_folder(tmp_path / 'model', kind)}")
    long = " ".join(models.FILLER * 200)
    pooled = features(backbone, [Sample("", 0, "a"), Sample(long, 0, "b")])
    assert bool(torch.isfinite(pooled).all())
    # XLNet has no end of positions; RoBERTa's begin at 2 and were made 66, the others' 64.
    most = {"xlnet": 256, "roberta": 64}.get(kind, 62)
    assert len(backbone.encode(long).x) == most
    assert backbone.card.size == most


def test_a_text_model_with_a_head_and_old_names_loads_its_trunk(tmp_path: Path) -> None:
    """As bert-base-uncased lies on the hub: prefixed, with heads, and with gamma and beta in its LayerNorms."""
    from safetensors.torch import load_file, save_file

    folder = models.text_folder(tmp_path / "model", "bert")
    tensors = load_file(folder / "model.safetensors")
    expected = features(backbones.load(f"local:{folder}"), samples("text"))
    old = {
        "bert." + k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in tensors.items()
    }
    old["cls.predictions.bias"] = torch.zeros(3)
    save_file(old, folder / "model.safetensors")
    assert torch.equal(features(backbones.load(f"local:{folder}"), samples("text")), expected)


def test_a_tokenizer_of_another_model_is_refused_at_load(tmp_path: Path) -> None:
    small, large = models.text_folder(tmp_path / "a", "bert"), models.text_folder(tmp_path / "b", "roberta")
    shutil.copy(large / "tokenizer.json", small)
    with pytest.raises(DataError, match="tokens, the model"):
        backbones.load(f"local:{small}")
    (large / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"tokenizer\.json is damaged"):
        backbones.load(f"local:{large}")


# --------------------------------------------------------------------------------------- more channels


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
@pytest.mark.parametrize(
    ("source", "kind"),
    [("timm", "resnet"), ("timm", "vit"), ("timm", "mobilenetv4"), ("torchvision", "squeezenet1_1"), ("vision", "vit"),
     ("vision", "mobilenet_v1"), ("vision", "swin")],
)  # fmt: skip
def test_pictures_of_other_channels_adapt_the_first_layer(
    source: str, kind: str, channels: int, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "model", source, kind)
    usual = backbones.load(f"local:{folder}")
    wide = backbones.load(f"local:{folder}", {"channels": channels})
    given = samples("picture", 4, channels)
    x = batch(wide, given)
    assert x.shape[1] == channels
    pooled = features(wide, given)
    assert bool(torch.isfinite(pooled).all())
    # The sum of the response is kept: channels that are all alike say what three of them did.
    plane = torch.randn(2, 1, *x.shape[2:])
    with torch.no_grad():
        grey = usual.eval()(plane.expand(-1, 3, -1, -1).contiguous()).pooled
        same = wide.eval()(plane.expand(-1, channels, -1, -1).contiguous()).pooled
    assert channels not in (1, 6) or torch.allclose(grey, same, atol=1e-4)
    again = survives_describe_and_build(wide, given, tmp_path)
    assert again.describe()["channels"] == channels
    assert "channels" not in usual.describe()
    trains(wide, [*given, *given])


def test_the_rule_for_channels_is_the_stated_one() -> None:
    from timm.models import adapt_input_conv

    weight = torch.randn(5, 3, 3, 3)
    for channels in (1, 2, 4, 5, 6, 13):
        adapted = _channels.adapt(weight, channels)
        assert torch.allclose(adapted, adapt_input_conv(channels, weight), atol=1e-6)
    prepared = _channels.preparing(backbones.registry.load("backbones", "timm").Preprocess(32), 5)
    assert prepared.mean == (0.485, 0.456, 0.406, 0.485, 0.456)
    assert prepared.std == (0.229, 0.224, 0.225, 0.229, 0.224)


@pytest.mark.parametrize("channels", [0, -1, "4", True, 2.5])
def test_channels_must_be_a_count(channels: Any, zoo: Path) -> None:
    with pytest.raises(UsageError, match="channels="):
        backbones.load(f"local:{zoo / 'tiny'}", {"channels": channels})


def test_a_network_without_a_first_convolution_is_refused() -> None:
    with pytest.raises(DataError, match="no first convolution"):
        _channels.widen(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), 4, None, "here")


# ------------------------------------------------------------------------------------ bare files and cards


def test_a_bare_file_needs_its_architecture(tmp_path: Path) -> None:
    folder = models.timm_folder(tmp_path / "model", "test_resnet")
    bare = tmp_path / "weights.safetensors"
    shutil.copy(folder / "model.safetensors", bare)
    with pytest.raises(UsageError, match="--architecture"):
        backbones.load(f"local:{bare}")
    name = backbones.with_architecture(str(bare), "timm/test_resnet")
    assert name == f"local:{bare}?architecture=timm/test_resnet"
    assert backbones.with_architecture(f"local:{bare}", "test_resnet") == name  # only timm has it
    given = samples("picture")
    backbone = backbones.load(name)
    assert backbone.source_head is not None
    assert backbone.source_head(backbone(batch(backbone, given)), None)[0].shape == (8, 5)
    again = survives_describe_and_build(backbone, given, tmp_path)
    assert again.card.size == backbone.card.size == 160  # timm's own for it


def test_a_bare_file_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = models.torchvision_folder(tmp_path / "model", "squeezenet1_1")
    shutil.copy(folder / "model.safetensors", tmp_path / "w.safetensors")
    monkeypatch.chdir(tmp_path)
    name = backbones.with_architecture("w.safetensors", "squeezenet1_1")
    assert backbones.absolute(name) == f"local:{tmp_path / 'w.safetensors'}?architecture=torchvision/squeezenet1_1"
    assert backbones.absolute("w.safetensors") == f"local:{tmp_path / 'w.safetensors'}"
    backbone = backbones.load(name)
    assert backbone.card.size == 224 and backbone.dim == 512
    (tmp_path / "w.CARD.json").write_text(
        json.dumps({"license": "MIT", "reported_imagenet_top1": 58.2, "preprocessing": {"input_size": [3, 64, 64]}})
    )
    card = backbones.load(name).card
    assert (card.license, card.top1, card.size) == ("MIT", 58.2, 64)


@pytest.mark.parametrize(
    ("architecture", "part"),
    [
        ("resnet50", "both libraries"),
        ("timm/resnot50", "resnet50"),
        ("keras/vgg16", "timm/NAME"),
        ("squeezenet9", "squeezenet"),
    ],
)
def test_an_architecture_that_cannot_be_meant(architecture: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=part):
        backbones.with_architecture(str(tmp_path / "w.safetensors"), architecture)


def test_an_architecture_is_for_bare_files(zoo: Path) -> None:
    with pytest.raises(UsageError, match="says its own"):
        backbones.with_architecture("timm:resnet18", "timm/resnet18")
    with pytest.raises(UsageError, match="says its own architecture"):
        backbones.load(f"local:{zoo / 'tiny'}/model.safetensors?architecture=timm/test_resnet")
    with pytest.raises(UsageError, match="already"):
        backbones.with_architecture(f"local:{zoo / 'tiny'}?architecture=timm/test_resnet", "timm/test_resnet")


def test_a_torchvision_architecture_with_a_card_alone(tmp_path: Path) -> None:
    folder = models.torchvision_folder(tmp_path / "model", "squeezenet1_1")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "CARD.json").write_text(json.dumps({**config, "licence": "MIT", "training_data": "noise"}))
    card = backbones.load(f"local:{folder}").card
    assert (card.license, card.trained_on, card.size) == ("MIT", "noise", 64)


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "zoo").is_dir(), reason="../shared/zoo is not here")
def test_every_model_of_the_zoo_has_a_whole_card() -> None:
    for folder in sorted((SHARED / "zoo").iterdir()):
        card = backbones.load(f"local:{folder}").card
        assert card.parameters > 100_000 and card.mb > 0.1 and card.size >= 96, card
        assert "unknown" not in (card.license, card.trained_on), card


# ---------------------------------------------------------------------------- weights that do not fit


def spoiled(folder: Path, change: Any) -> Path:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("source", ["timm", "torchvision", "vision", "text"])
def test_weights_that_do_not_fit_are_listed(source: str, tmp_path: Path) -> None:
    kind = {"timm": "resnet", "torchvision": "squeezenet1_1", "vision": "vit", "text": "bert"}[source]

    def change(tensors: dict[str, torch.Tensor]) -> None:
        names = [n for n in tensors if tensors[n].ndim > 1 and "classifier" not in n and "pooler" not in n]
        del tensors[names[1]]
        tensors[names[2]] = torch.zeros(1, 2)
        prefix = "" if source != "vision" else "vit."
        tensors[f"{prefix}{'encoder' if source in ('text', 'vision') else 'layer'}.extra.weight"] = torch.zeros(2)

    folder = spoiled(folder_of(tmp_path / "model", source, kind), change)
    with pytest.raises(DataError, match=r"1 missing: .*1 unexpected: .*1 of another shape: .*only the head may be new"):
        backbones.load(f"local:{folder}")


@pytest.mark.parametrize(("source", "kind"), [("timm", "resnet"), ("torchvision", "squeezenet1_1")])
def test_a_head_of_other_classes_than_the_config_says(source: str, kind: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", source, kind)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_classes": 9}))
    with pytest.raises(DataError, match=r"1 of another shape: .*of 5 classes for num_classes 9"):
        backbones.load(f"local:{folder}")


@pytest.mark.parametrize(("source", "kind"), [("timm", "resnet"), ("torchvision", "mobilenet_v2"), ("vision", "vit")])
def test_a_head_alone_may_be_missing_and_is_then_none(source: str, kind: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", source, kind)
    assert backbones.load(f"local:{folder}").source_head is not None

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in [n for n in tensors if n.split(".")[0] in ("fc", "head", "classifier")]:
            del tensors[name]

    backbone = backbones.load(f"local:{spoiled(folder, change)}")
    assert backbone.source_head is None  # never one with random weights
    assert bool(torch.isfinite(features(backbone, samples("picture"))).all())


# -------------------------------------------------------------------------------- what may run code


class Bomb:
    """Pickled, it would run a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        import os

        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_is_refused_by_the_name_of_what_it_would_run(protocol: int, tmp_path: Path) -> None:
    file = tmp_path / "model.pth"
    file.write_bytes(pickle.dumps({"a": 1, "b": Bomb(f"touch {tmp_path / 'it-ran'}")}, protocol=protocol))
    assert _pickles.names_in(file) == ["posix.system"]
    for name in (f"local:{file}", f"local:{tmp_path}"):
        with pytest.raises(SecurityError, match=r"posix\.system"):
            backbones.load(name)
    assert not (tmp_path / "it-ran").exists()


def test_a_pickle_of_torch_is_looked_into(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(2), "evil": Bomb("true")}, tmp_path / "zip.pt")
    torch.save({"w": torch.zeros(2), "evil": Bomb("true")}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("zip.pt", "old.pt"):
        with pytest.raises(SecurityError, match=r"it names posix\.system, .*torch"):
            backbones.load(f"local:{tmp_path / name}")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "zip.pt").read_bytes()[:300])
    (tmp_path / "junk.bin").write_bytes(bytes(range(256)) * 4)
    for name in ("cut.pt", "junk.bin"):
        with pytest.raises(SecurityError, match="is refused"):
            backbones.load(f"local:{tmp_path / name}")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"auto_map": {"AutoModel": "evil--Model"}}, "auto_map"),
        ({"attn_implementation": "evil/kernel"}, "attn_implementation"),
        ({"_attn_implementation": "evil/kernel"}, "_attn_implementation"),
        ({"vision_config": {"deep": [{"trust_remote_code": True}]}}, "trust_remote_code"),
        ({"quantization_config": {"quant_method": "evil"}}, "quantization_config"),
        ({"backbone": "evil/repo"}, "fetches another model"),
        ({"use_pretrained_backbone": True}, "use_pretrained_backbone"),
        ({"model_type": "timm_wrapper", "architecture": "x"}, "no architecture"),
        ({"num_hidden_layers": 10**9}, "more than any encoder"),
        ({"hidden_act": "os.system"}, "cannot build"),
        ({"hidden_size": 2**20}, "its weights file has"),
        ({"vocab_size": 2**33}, "its weights file has"),
        ({"model_type": "../../evil"}, "model_type"),
        ({"model_type": "t5", "classifier_dropout": "x"}, "is no t5's"),
    ],
)
def test_a_hostile_config_is_refused(change: dict[str, Any], part: str, tmp_path: Path) -> None:
    folder = models.text_folder(tmp_path / "model", "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises((SecurityError, DataError, UsageError), match=part):
        backbones.load(f"local:{folder}")


def test_a_model_that_decodes_is_no_encoder(tmp_path: Path) -> None:
    from transformers import T5Config, T5Model

    folder = models.text_folder(tmp_path / "model", "bert")
    config = T5Config(vocab_size=200, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, decoder_start_token_id=0)
    T5Model(config).save_pretrained(folder)
    with pytest.raises(DataError, match="encodes and decodes"):
        backbones.load(f"local:{folder}")


@pytest.mark.parametrize(
    "args",
    [
        {"checkpoint_path": "/etc/passwd"},
        {"pretrained_cfg": {"url": "http://evil"}},
        {"cache_dir": "/"},
        {"block": {"a": 1}},
        {"nonsense": 1},
    ],
)
def test_hostile_arguments_of_timm_are_refused(args: dict[str, Any], zoo: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(zoo / "tiny", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_args": args}))
    with pytest.raises((SecurityError, DataError)):
        backbones.load(f"local:{folder}")


def test_an_adapter_config_beside_weights_changes_nothing(tmp_path: Path) -> None:
    """The library's own from_pretrained would fetch the base model that such a file names."""
    folder = models.text_folder(tmp_path / "model", "bert")
    expected = features(backbones.load(f"local:{folder}"), samples("text"))
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "evil/repo"}))
    assert torch.equal(features(backbones.load(f"local:{folder}"), samples("text")), expected)


# --------------------------------------------------------------------------------- stages, cards, runs


def test_stages_go_from_input_to_output() -> None:
    def order(*names: str) -> list[tuple[str, int]]:
        return [(stage, len(found)) for stage, found in group_by_depth(names)]

    assert order("conv1.weight", "layer1.0.w", "layer2.0.w", "layer2.1.w", "fc.weight") == [
        ("input", 1), ("block 1", 1), ("block 2", 2), ("output", 1),
    ]  # fmt: skip
    assert order("encoder.layers.encoder_layer_0.a", "encoder.layers.encoder_layer_11.a", "encoder.ln.weight") == [
        ("block 0", 1), ("block 11", 1), ("output", 1),
    ]  # fmt: skip
    assert order(*[f"layer.{i}.w" for i in (0, 1, 2, 10)])[-1] == ("block 10", 1)  # by number, not by letter
    assert order("features.conv0.w", "features.denseblock1.denselayer1.w", "features.transition1.w",
                 "features.denseblock2.denselayer1.w", "features.norm5.w") == [
        ("input", 1), ("block 1", 2), ("block 2", 1), ("output", 1),
    ]  # fmt: skip
    assert order("emb.w", "encoder.layer.0.w", "encoder.layer.1.w", "encoder.rel_embeddings.weight",
                 "encoder.LayerNorm.weight") == [("input", 3), ("block 0", 1), ("block 1", 1)]  # fmt: skip
    assert order("weight", "bias") == [("input", 2)]
    assert group_by_depth([]) == []


@pytest.mark.parametrize(
    ("tag", "data"),
    [
        ("a1_in1k", "ImageNet-1k"),
        ("augreg2_in21k_ft_in1k", "ImageNet-21k, then ImageNet-1k"),
        ("clip_laion2b_augreg_ft_in12k_in1k", "LAION-2B, then ImageNet-12k, then ImageNet-1k"),
        ("lvd142m", "LVD-142M"),
        ("mae", "ImageNet-1k without labels"),
        ("robbyant", "unknown"),
    ],
)
def test_tags_of_timm_tell_the_source_data(tag: str, data: str) -> None:
    assert _cards.timm_data(tag) == data


def test_published_figures_are_of_weights_that_exist() -> None:
    import timm

    known = set(timm.list_pretrained())
    assert set(_cards.TIMM_TOP1) <= known
    assert all(50 < v < 91 for v in _cards.TIMM_TOP1.values())


def test_a_run_is_a_backbone_with_a_card(picture_run: graft.Run) -> None:
    backbone = backbones.load(f"run:{picture_run.folder}")
    assert backbone.card.name == f"run:{picture_run.folder}"
    assert backbone.card.license == "mit" or backbone.card.license == "MIT"
    assert "then the data of" in backbone.card.trained_on
    assert backbone.card.parameters > 0 and backbone.card.top1 is None
    with pytest.raises(UsageError, match="made for pictures of 3 channels"):
        backbones.load(f"run:{picture_run.folder}", {"channels": 4})


def test_every_source_keeps_the_contract() -> None:
    import inspect

    for source in backbones.registry.names("backbones"):
        module = backbones.registry.load("backbones", source)
        assert list(inspect.signature(module.load).parameters)[:2] == ["name", "schema"], source
        assert list(inspect.signature(module.build).parameters) == ["description", "assets"], source
        assert isinstance(module.names("no such thing"), list), source


def test_names_that_cannot_be_meant() -> None:
    for name, part in {
        "timm:resnot18": "resnet18",
        "torchvision:resnot50": "resnet50",
        "torchvision:resnet50.V9": "IMAGENET1K_V1",
        "torchvision:resnet50@abc": "64 digits",
        "hf:../../etc": "OWNER/NAME",
        "transformers:a/b/c": "OWNER/NAME",
        "hf:a/b@../x": "OWNER/NAME",
        "tim:resnet18": "timm",
    }.items():
        with pytest.raises(UsageError, match=part):
            backbones.load(name)


def test_torchvision_weights_are_known_by_every_spelling() -> None:
    from graft.backbones import torchvision

    for name in ("resnet50", "resnet50.IMAGENET1K_V2", "ResNet50_Weights.IMAGENET1K_V2", "resnet50.DEFAULT"):
        architecture, weights = torchvision._entry(name)
        assert (architecture, weights.name) == ("resnet50", "IMAGENET1K_V2"), name
    for architecture in torchvision.architectures():
        _, weights = torchvision._entry(architecture)
        prepare = torchvision._preparing(weights)
        assert prepare.shorter() == weights.transforms().resize_size[0], architecture
        assert torchvision.re.search(r"-[0-9a-f]{8,}\.pth$", weights.url), weights.url
        assert torchvision.published(architecture, weights.name) is not None
    assert torchvision.published("resnet50", "IMAGENET1K_V1") == 76.13
