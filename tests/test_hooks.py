"""A run's model in its own library gives the numbers that it gives in graft."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from torch import nn

import graft
from graft import hooks
from graft.errors import SetupError, UsageError
from graft.hooks._folder import new_folder
from graft.run import Run

TEXTS = ["a lovely happy day", "the room was awful", "unheard of words", "", "warm " * 100]


def fit(folder: Path, data: Any, out: Path, recipe: str = "probe") -> Run:
    return graft.fit(data, backbone=f"local:{folder}", recipe=recipe, out=out, quiet=True)


def pictures(n: int = 6, side: int = models.SIDE) -> list[Any]:
    """Square pictures of the input's size, half of each kind."""
    return [models.picture(("disc", "square")[i % 2], 500 + i).resize((side, side)) for i in range(n)]


@torch.no_grad()
def ours(run: Run, items: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """graft's own (pooled features, scores) of opened items, by graft's own preprocessing."""
    backbone = run.model.backbone
    x = backbone.collate([backbone.encode(item).x for item in items])
    features = backbone(x)
    return features.pooled, run.model.head(features, None)[0]


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def timm_run(home: Path, zoo: Path, photos: Path) -> Run:
    return fit(zoo / "tiny", photos, home / "hook-timm", "probe > finetune:depth=1")


@pytest.fixture(scope="module")
def torchvision_run(home: Path, photos: Path) -> Run:
    return fit(torchvision_folder(home / "squeeze", "squeezenet1_1"), photos, home / "hook-squeeze")


def torchvision_folder(folder: Path, architecture: str) -> Path:
    """A torchvision network of its own thousand classes, with random weights."""
    from safetensors.torch import save_file
    from torchvision import models as zoo

    torch.manual_seed(0)
    net = zoo.get_model(architecture, weights=None)
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors")
    said = {"library": "torchvision", "architecture": architecture}
    (folder / "config.json").write_text(json.dumps({**said, "preprocessing": {"input_size": [3, 64, 64]}}))
    return folder


def vision_folder(folder: Path, kind: str, **values: Any) -> Path:
    """A tiny picture network of transformers with random weights."""
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **values)
    config.save_pretrained(folder)
    net = AutoModel.from_config(config)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors")
    said = {"size": {"height": models.SIDE, "width": models.SIDE}, "image_mean": [0.4] * 3, "image_std": [0.6] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


VIT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "image_size": models.SIDE, "patch_size": 8,
}  # fmt: skip


@pytest.fixture(scope="module")
def vit_run(home: Path, photos: Path) -> Run:
    return fit(vision_folder(home / "vit", "vit", **VIT), photos, home / "hook-vit")


# --------------------------------------------------------------------------------------------- timm


def through_timm(net: nn.Module, items: Sequence[Any]) -> torch.Tensor:
    """Scores by timm's own preprocessing, as its documentation has it."""
    import timm.data

    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net), is_training=False)
    with torch.no_grad():
        return net(torch.stack([transform(item) for item in items]))  # type: ignore[no-any-return]


def test_timm_gives_the_scores_of_the_trained_classifier(timm_run: Run) -> None:
    net = hooks.to_timm(timm_run)
    assert not net.training and type(net).__module__.startswith("timm.")
    assert net.num_classes == 2
    close(through_timm(net, pictures()), ours(timm_run, pictures())[1])
    close(through_timm(net, pictures(side=64)), ours(timm_run, pictures(side=64))[1])  # scaled to the half


def test_timm_leaves_the_run_as_it_was(timm_run: Run) -> None:
    before = {k: v.clone() for k, v in timm_run.model.state_dict().items()}
    net = hooks.to_timm(timm_run)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    assert all(torch.equal(v, before[k]) for k, v in timm_run.model.state_dict().items())


def test_timm_opens_the_folder_and_knows_the_labels(timm_run: Run, tmp_path: Path) -> None:
    import timm

    hooks.to_timm(timm_run, tmp_path / "deep" / "er")
    net = timm.create_model(f"local-dir:{tmp_path / 'deep' / 'er'}", pretrained=True).eval()
    close(through_timm(net, pictures()), ours(timm_run, pictures())[1])
    assert net.pretrained_cfg["label_names"] == list(timm_run.labels) == ["disc", "square"]
    assert net.pretrained_cfg["license"].lower() == "mit"
    assert sorted(p.name for p in (tmp_path / "deep" / "er").iterdir()) == ["config.json", "model.safetensors"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["er"]


def test_graft_opens_the_folder_made_for_timm(timm_run: Run, tmp_path: Path) -> None:
    hooks.to_timm(timm_run, tmp_path / "net")
    again = graft.backbones.load(f"local:{tmp_path / 'net'}")
    assert again.prepare == timm_run.model.backbone.prepare  # type: ignore[attr-defined]
    with torch.no_grad():
        x = again.collate([again.encode(p).x for p in pictures()])
        close(again(x).pooled, ours(timm_run, pictures())[0])


def test_timm_may_be_fine_tuned_to_other_classes(timm_run: Run, tmp_path: Path) -> None:
    import timm

    hooks.to_timm(timm_run, tmp_path / "net")
    net = timm.create_model(f"local-dir:{tmp_path / 'net'}", pretrained=True, num_classes=7)
    assert net.get_classifier().out_features == 7


def test_timm_gives_features_where_the_head_is_no_linear_layer(home: Path, zoo: Path, photos: Path) -> None:
    run = fit(zoo / "tiny", photos, home / "hook-neighbour", "nearest_neighbour")
    net = hooks.to_timm(run, home / "hook-neighbour-net")
    assert net.num_classes == 0
    close(through_timm(net, pictures()), ours(run, pictures())[0])
    assert "label_names" not in json.loads((home / "hook-neighbour-net" / "config.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["test_vit", "test_convnext", "test_resnet", "test_efficientnet"])
def test_timm_of_several_families(architecture: str, tmp_path: Path, photos: Path) -> None:
    import timm

    side = timm.create_model(architecture).pretrained_cfg["input_size"][-1]  # what vit takes and no other
    cfg = {"input_size": [3, side, side], "crop_pct": 0.9, "interpolation": "bicubic"}
    run = fit(models.timm_folder(tmp_path / "m", architecture, pretrained_cfg=cfg), photos, tmp_path / "run")
    net = hooks.to_timm(run, tmp_path / "net")
    assert net.num_classes == 2
    again = timm.create_model(f"local-dir:{tmp_path / 'net'}", pretrained=True).eval()
    close(through_timm(again, pictures(side=side)), ours(run, pictures(side=side))[1])


# ------------------------------------------------------------------------------------ torchvision


@torch.no_grad()
def test_torchvision_gives_the_scores_also_where_a_relu_follows(torchvision_run: Run, tmp_path: Path) -> None:
    from torchvision import models as zoo

    net = hooks.to_torchvision(torchvision_run, tmp_path / "net")
    backbone = torchvision_run.model.backbone
    x = backbone.collate([backbone.encode(p).x for p in pictures(side=64)])
    scores = ours(torchvision_run, pictures(side=64))[1]
    close(net(x), scores)
    assert bool((scores < 0).any())  # which the ReLU would have cut
    zoo.get_model("squeezenet1_1", num_classes=2).load_state_dict(net.state_dict())
    again = graft.backbones.load(f"local:{tmp_path / 'net'}").eval()
    close(again(x).pooled, backbone(x).pooled)
    assert json.loads((tmp_path / "net" / "config.json").read_text())["label_names"] == ["disc", "square"]


@pytest.mark.slow
@torch.no_grad()
def test_torchvision_of_a_linear_last_layer(tmp_path: Path, photos: Path) -> None:
    run = fit(torchvision_folder(tmp_path / "m", "shufflenet_v2_x0_5"), photos, tmp_path / "run")
    net = hooks.to_torchvision(run)
    x = run.model.backbone.collate([run.model.backbone.encode(p).x for p in pictures(side=64)])
    close(net(x), ours(run, pictures(side=64))[1])
    assert type(net).__module__.startswith("torchvision.")


def test_torchvision_has_no_folder_without_a_linear_head(tmp_path: Path, photos: Path) -> None:
    run = fit(torchvision_folder(tmp_path / "m", "squeezenet1_1"), photos, tmp_path / "run", "nearest_neighbour")
    with pytest.raises(UsageError, match="without a folder"):
        hooks.to_torchvision(run, tmp_path / "net")
    assert not (tmp_path / "net").exists()
    assert isinstance(hooks.to_torchvision(run), nn.Module)


# ----------------------------------------------------------------------------------- transformers


def through_transformers(folder: Path, items: Sequence[Any]) -> torch.Tensor:
    """Scores of a folder by transformers' own classes."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    net = AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        x = AutoImageProcessor.from_pretrained(folder)(list(items), return_tensors="pt")["pixel_values"]
        return net(pixel_values=x).logits  # type: ignore[no-any-return]


def test_transformers_classifies_pictures_with_the_trained_head(vit_run: Run, tmp_path: Path) -> None:
    net = hooks.to_transformers(vit_run, tmp_path / "net")
    assert type(net).__name__ == "ViTForImageClassification"
    assert net.config.id2label == {0: "disc", 1: "square"}
    assert net.config.problem_type == "single_label_classification"
    close(through_transformers(tmp_path / "net", pictures()), ours(vit_run, pictures())[1])


def test_transformers_resizes_pictures_almost_as_graft_does(vit_run: Run, tmp_path: Path) -> None:
    hooks.to_transformers(vit_run, tmp_path / "net")
    theirs, mine = through_transformers(tmp_path / "net", pictures(side=50)), ours(vit_run, pictures(side=50))[1]
    scale = float(mine.std())
    assert float((theirs - mine).abs().max()) < 0.05 * scale


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("resnet", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}, "ResNetForImageClassification"),
        # Its classifier reads the mean over patches beside the first token: graft's head has no place in it.
        ("dinov2", {**VIT, "mlp_ratio": 2}, "Dinov2Model"),
    ],
)
@pytest.mark.slow
def test_transformers_takes_the_head_only_where_the_scores_are_equal(
    kind: str, values: dict[str, Any], expected: str, tmp_path: Path, photos: Path
) -> None:
    run = fit(vision_folder(tmp_path / "m", kind, **values), photos, tmp_path / "run")
    net = hooks.to_transformers(run, tmp_path / "net")
    assert type(net).__name__ == expected
    assert (tmp_path / "net" / "preprocessor_config.json").is_file()
    x = run.model.backbone.collate([run.model.backbone.encode(p).x for p in pictures()])
    features, scores = ours(run, pictures())
    with torch.no_grad():
        out = net(pixel_values=x)
    close(out.last_hidden_state[:, 0], features) if expected == "Dinov2Model" else close(out.logits, scores)


def test_graft_opens_the_folder_made_for_transformers(tmp_path: Path, photos: Path) -> None:
    values = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    run = fit(vision_folder(tmp_path / "m", "resnet", **values), photos, tmp_path / "run")
    hooks.to_transformers(run, tmp_path / "net")
    again = graft.backbones.load(f"local:{tmp_path / 'net'}").eval()
    assert again.prepare == run.model.backbone.prepare  # type: ignore[attr-defined]
    with torch.no_grad():
        x = again.collate([again.encode(p).x for p in pictures()])
        close(again(x).pooled, ours(run, pictures())[0])


def check_text(run: Run, folder: Path, texts: Sequence[str]) -> None:
    """The folder in transformers and in sentence-transformers, by their own tokenizers, against graft."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense
    from transformers import AutoModel, AutoTokenizer

    net = hooks.to_transformers(run, folder)
    features, scores = ours(run, texts)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    for model in (net, AutoModel.from_pretrained(folder).eval()):
        assert type(model).__name__ == "BertModel"
        with torch.no_grad():
            tokens, share = model(**batch).last_hidden_state, batch["attention_mask"].unsqueeze(2)
        close((tokens * share).sum(dim=1) / share.sum(dim=1), features)
    whole = SentenceTransformer(str(folder), device="cpu")
    close(torch.from_numpy(whole.encode(list(texts), show_progress_bar=False)), features)
    whole.append(Dense.load(str(folder), subfolder="classifier"))
    close(torch.from_numpy(whole.encode(list(texts), show_progress_bar=False)), scores)


def test_a_text_encoder_opens_in_both_libraries(text_run: Run, tmp_path: Path) -> None:
    # An empty text has no token at all in this tokenizer: transformers would take a mean over none.
    check_text(text_run, tmp_path / "net", [t for t in TEXTS if t])
    again = graft.backbones.load(f"local:{tmp_path / 'net'}")
    assert again.limit == text_run.model.backbone.limit  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_bundled_encoder_opens_in_both_libraries(tmp_path: Path, reviews: Path) -> None:
    run = graft.fit(reviews, backbone="bundled:all-MiniLM-L6-v2", recipe="probe", out=tmp_path / "run", quiet=True)
    check_text(run, tmp_path / "net", [*TEXTS, "Ünïcode – 漢字 and [SEP] marks", "long " * 400])


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("fixture", "hook", "right"),
    [
        ("text_run", hooks.to_timm, r"run.to_transformers\(\)"),
        ("timm_run", hooks.to_transformers, r"run.to_timm\(\)"),
        ("timm_run", hooks.to_torchvision, r"run.to_timm\(\)"),
        ("torchvision_run", hooks.to_timm, r"run.to_torchvision\(\)"),
        ("torchvision_run", hooks.to_transformers, r"run.to_torchvision\(\)"),
    ],
)
def test_the_wrong_hook_names_the_right_one(
    fixture: str, hook: Callable[..., Any], right: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=right):
        hook(request.getfixturevalue(fixture), tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(timm_run: Run, tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    with pytest.raises(UsageError, match="exists"):
        hooks.to_timm(timm_run, tmp_path / "net")
    assert not list((tmp_path / "net").iterdir())


def test_a_folder_is_whole_or_not_there(timm_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm.models._hub

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(timm.models._hub, "save_config_for_hf", full)  # after the weights were written
    with pytest.raises(SetupError, match="No space left"):
        hooks.to_timm(timm_run, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_a_folder_made_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="meanwhile"), new_folder(tmp_path / "net") as work:  # noqa: PT012
        (work / "a").write_text("a")
        (tmp_path / "net").mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
    assert not list((tmp_path / "net").iterdir())


def test_the_same_noise_each_time() -> None:
    from graft.hooks._parts import noise

    assert torch.equal(noise(2, 3), noise(2, 3))
    assert np.abs(noise(1000).mean().item()) < 0.2
