"""Layer cuts and random decoys: the first parts of every architecture, really alone, by name, again and again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from torch import nn
from toys import Toy

import graft
from graft import backbones, features, golden, registry, storage
from graft.backbones import _named
from graft.backbones._cut import Cut, cut, possible
from graft.data import Sample
from graft.errors import UsageError
from graft.loading import encode_all, preprocess_of
from graft.model import Backbone, Features, fingerprint

SHARED = Path(__file__).parents[2] / "shared"

TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "mobilenetv2": ("mobilenetv2_035", {}),
    "mobilenetv3": ("mobilenetv3_small_050", {}),
    "mobilenetv4": ("mobilenetv4_conv_small_035", {}),
    "resnet": ("test_resnet", {}),
    "vit": ("test_vit", {"img_size": 32}),
    "convnext": ("test_convnext", {}),
}
PICTURES = [
    *[("timm", kind) for kind in TIMM],
    ("torchvision", "squeezenet1_1"),
    *[("vision", kind) for kind in ("mobilenet_v1", "vit", "resnet", "convnext", "swin")],
]
TEXTS = [("text", k) for k in ("bert", "minilm", "roberta", "distilbert", "deberta-v2", "modernbert", "xlnet", "mpnet")]
LARGE = [("torchvision", k) for k in ("vgg16", "alexnet", "resnet18", "densenet121", "swin_t", "googlenet")]
CLASS_TOKEN = {("timm", "vit"), ("vision", "vit")}
"""Whose whole backbones read the class token; a stage's features are the mean over all tokens."""


def folder_of(where: Path, source: str, kind: str) -> Path:
    if where.is_dir():
        return where
    if source == "timm":
        return models.timm_small(where, TIMM[kind][0], **TIMM[kind][1])
    if source == "torchvision":
        return models.torchvision_folder(where, kind)
    return models.vision_folder(where, kind) if source == "vision" else models.text_folder(where, kind)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def mobile(place: Path) -> str:
    return f"local:{folder_of(place / 'timm-mobilenetv2', 'timm', 'mobilenetv2')}"


def samples(modality: str, n: int = 3) -> list[Sample]:
    if modality == "text":
        return [Sample(text, label, f"t{i}") for i, (text, label) in enumerate(models.texts(n))]
    return [Sample(models.picture(("disc", "square")[i % 2], i), i % 2, f"p{i}") for i in range(n)]


def batch(backbone: Backbone) -> torch.Tensor:
    return backbone.collate([backbone.encode(s.x).x for s in samples(backbone.modality)])


@torch.no_grad()
def pooled(backbone: Backbone) -> torch.Tensor:
    return backbone.eval()(batch(backbone)).pooled


@torch.no_grad()
def after(whole: Backbone, stage: int) -> torch.Tensor:
    """The class token after a numbered part of a transformer, by a hook of the test's own."""
    seen: list[torch.Tensor] = []
    names = {n.rpartition(".")[0] for n in whole.stages()[stage][1]}
    block = [m for n, m in whole.named_modules() if n and all(f"{a}.".startswith(f"{n}.") for a in names)][-1]
    hook = block.register_forward_hook(lambda module, given, out: seen.append(out))
    whole.eval()(batch(whole))
    hook.remove()
    return seen[0][:, 0]


def count(module: nn.Module) -> int:
    return sum(p.numel() for n, p in module.named_parameters() if not n.startswith("source_head."))


# ------------------------------------------------------------------------------------ every network


def holds(name: str, kind: tuple[str, str], parts: list[int] | None = None) -> Backbone:
    """All that a cut promises, for some cuts of one network (None: all); the last of them."""
    whole = backbones.load(name).eval()
    names = backbones.cuts(name)
    assert names == [f"{name}:stages={k}" for k in range(1, len(whole.stages()) - 1)]
    given = samples(whole.modality)
    stages = features.extract(whole, given, stages=True, keep=False).stages
    before = 0
    for k in parts or range(1, len(names) + 1):
        made = backbones.load(names[k - 1])
        stage = whole.stages()[k][0]
        table = features.extract(made, given, stages=True, keep=False)
        if kind in CLASS_TOKEN:
            assert torch.equal(table.pooled, after(whole, k))
        else:
            assert torch.equal(table.pooled, stages[stage])
        assert list(table.stages) == [s for s, _ in whole.stages()[: k + 1] if s in stages]  # the last one too
        assert all(torch.equal(t, stages[s]) for s, t in table.stages.items())
        assert before < count(made) < count(whole)
        before = count(made)
        is_a_backbone(made, whole, k)
    return made


def is_a_backbone(made: Backbone, whole: Backbone, k: int) -> None:
    kept = [(s, [f"inner.{n}" for n in names]) for s, names in whole.stages()[: k + 1]]
    assert [(s, sorted(n)) for s, n in made.stages()] == [(s, sorted(n)) for s, n in kept]
    assert sorted(n for _, names in made.stages() for n in names) == sorted(n for n, _ in made.named_parameters())
    assert made.source_head is None
    assert made.modality == whole.modality
    assert made.card.parameters == sum(v.numel() for v in made.state_dict().values()) < whole.card.parameters
    assert 0 <= made.card.mb <= whole.card.mb
    assert made.card.top1 is None
    assert fingerprint(made) != fingerprint(whole)
    made.train()
    out = made(batch(made)).pooled  # in training mode: a batch of three has statistics of its own
    assert out.shape == (3, made.dim)
    out.square().sum().backward()
    for stage, names in made.stages()[1:]:
        grads = [p.grad for n, p in made.named_parameters() if n in names]
        assert any(g is not None and bool(g.any()) for g in grads), f"{stage} gets no gradient"


def built_again(made: Backbone, where: Path) -> Backbone:
    """From its description as JSON, with its weights."""
    for name, content in made.assets().items():
        (where / name).write_bytes(content)
    again = backbones.build(json.loads(json.dumps(made.describe())), where)
    assert fingerprint(again) != fingerprint(made)  # its own random weights
    again.load_state_dict(made.state_dict())
    return again


@pytest.mark.parametrize("kind", [*PICTURES, *TEXTS], ids="-".join)
def test_every_network_can_be_cut(place: Path, tmp_path: Path, kind: tuple[str, str]) -> None:
    name = f"local:{folder_of(place / '-'.join(kind), *kind)}"
    made = holds(name, kind, [1])
    assert torch.equal(pooled(built_again(made, tmp_path)), pooled(made))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*PICTURES, *TEXTS], ids="-".join)
def test_every_cut_of_every_network(place: Path, kind: tuple[str, str]) -> None:
    holds(f"local:{folder_of(place / '-'.join(kind), *kind)}", kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGE, ids="-".join)
def test_large_networks_can_be_cut(tmp_path: Path, kind: tuple[str, str]) -> None:
    name = f"local:{folder_of(tmp_path / kind[1], *kind)}"
    holds(name, kind, sorted({1, len(backbones.cuts(name))}))


@pytest.mark.slow
def test_torchvisions_vit_keeps_its_class_token(tmp_path: Path) -> None:
    build = {"source": "torchvision", "architecture": "vit_b_16", "preprocess": {"size": 224, "crop": 1.0}}
    whole = backbones.build(build, tmp_path)
    wanted = after(whole, 2)
    assert torch.equal(pooled(cut(whole, 2)), wanted)


@pytest.mark.slow
def test_the_bundled_text_encoder() -> None:
    holds("bundled:all-MiniLM-L6-v2", ("bundled", "minilm"))


def test_all_parts_are_the_network_without_its_source_head(mobile: str, place: Path) -> None:
    whole = backbones.load(mobile)
    made = backbones.load(f"{mobile}:stages={len(whole.stages()) - 1}")
    assert whole.source_head is not None
    assert made.source_head is None
    assert torch.equal(pooled(made), pooled(whole))
    assert count(made) == count(whole)


def test_what_is_cut_off_is_not_computed(mobile: str) -> None:
    """By the convolutions that run: those of the kept parts, each once, and no other."""
    made, ran = backbones.load(f"{mobile}:stages=2").eval(), []
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, given, out: ran.append(m))
    pooled(made)
    assert len(ran) == sum(isinstance(m, nn.Conv2d) for m in made.modules()) == 9
    assert sum(isinstance(m, nn.Conv2d) for m in backbones.load(mobile).modules()) == 52


def test_a_pass_leaves_no_hook_behind(mobile: str) -> None:
    made = backbones.load(f"{mobile}:stages=2").eval()
    x = batch(made)
    assert torch.equal(made(x).pooled, made(x).pooled)
    assert not any(m._forward_hooks for m in made.modules())


def test_a_text_is_masked_and_embedded_as_the_whole_encoder_does(place: Path) -> None:
    whole = backbones.load(f"local:{folder_of(place / 'text-bert', 'text', 'bert')}").eval()
    made = backbones.load(f"{whole.card.name}:stages=1").eval()
    x = whole.collate([whole.encode(t).x for t in ("a good film", "the meal was warm and the room was very quiet")])
    mask = whole(x).mask
    assert mask is not None
    with torch.no_grad():
        plain, embedded = made(x), made(x, made.embed(x))
        half = mask & (torch.arange(x.shape[1]) < 3)
        assert torch.equal(plain.mask, mask)
        assert torch.allclose(plain.pooled, embedded.pooled, atol=1e-6)
        assert torch.allclose(made(x, mask=half).pooled[0], made(x[:1, :3]).pooled[0], atol=1e-5)
    assert [e.x.tolist() for e in encode_all(made, ["a good film"], None)] == [made.encode("a good film").x.tolist()]
    assert made.notes([Sample("a film " * 200, "good", "t")])[0].kind == "warning"


def test_tokens_of_xlnet_are_pooled_by_sample(place: Path) -> None:
    """Inside it lays them as [t, b, d]: the mean of its own hidden states is taken over t."""
    whole: Any = backbones.load(f"local:{folder_of(place / 'text-xlnet', 'text', 'xlnet')}").eval()
    x = batch(whole)
    with torch.no_grad():
        mask = whole(x).mask
        hidden = whole.net(input_ids=x, attention_mask=mask.long(), output_hidden_states=True).hidden_states[1]
    wanted = torch.stack([h[m].mean(0) for h, m in zip(hidden, mask, strict=True)])
    assert torch.allclose(pooled(backbones.load(f"{whole.card.name}:stages=1")), wanted, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_pictures_of_other_channels(mobile: str, channels: int) -> None:
    made = backbones.load(f"{mobile}:stages=1", {"channels": channels})
    picture = np.random.default_rng(0).integers(0, 255, (40, 36, channels), dtype=np.uint8)
    assert made(made.collate([made.encode(picture).x])).pooled.shape == (1, made.dim)
    assert preprocess_of(made) is not None
    assert made.describe()["channels"] == channels


# ----------------------------------------------------------------------------------- toys that resist


class Wired(Backbone):
    """Three linear layers on pictures; `how` is plain, shared (the second runs twice) or early (needs the third)."""

    def __init__(self, how: str = "plain") -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 4)
        self.how, self.dim, self.modality, self.card = how, 4, "picture", Toy().card

    def encode(self, x: Any, size: int | None = None) -> Any:
        return Toy("picture").encode(x, size)

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(xs)

    def stages(self) -> list[tuple[str, list[str]]]:
        return [(s, [n for n, _ in self.named_parameters() if n.startswith(f"{s}.")]) for s in ("a", "b", "c")]

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x.mean(dim=(1, 3))[:, :4])

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        x = self.embed(x)
        x = x + self.c.weight.mean() if self.how == "early" else x
        x = self.b(self.b(x)) if self.how == "shared" else self.b(x)
        return Features(self.c(x))

    def describe(self) -> dict[str, Any]:
        return {"source": "wired", "how": self.how}


def test_the_activation_behind_a_bare_layer_counts() -> None:
    """Without it a part would be no more than a linear map of the one before."""
    whole = Wired().eval()
    stages = features.extract(whole, samples("picture"), stages=True, keep=False).stages
    assert bool((stages["b"] >= 0).all())
    assert torch.equal(pooled(cut(whole, 1)), stages["b"])


def test_networks_that_cannot_be_cut_say_why() -> None:
    with pytest.raises(UsageError, match=r"behind its part 1, b, .*runs just once.*there are 2 parts .*\(b, c\)"):
        cut(Wired("shared"), 1)
    assert possible(Wired("shared")) == []
    with pytest.raises(UsageError, match="behind b: this needs what comes later"):
        cut(Wired("early"), 1)
    with pytest.raises(UsageError, match="for a row cannot be cut; those of pictures and texts can"):
        cut(Toy("row"), 1)

    class One(Wired):
        def stages(self) -> list[tuple[str, list[str]]]:
            return [("all", [n for n, _ in self.named_parameters()])]

    with pytest.raises(UsageError, match="of one part, which cannot be cut"):
        cut(One(), 1)
    assert possible(One()) == []


def test_albert_has_one_block_that_runs_again_and_again(place: Path) -> None:
    name = f"local:{folder_of(place / 'text-albert', 'text', 'albert')}"
    assert backbones.cuts(name) == []
    assert torch.equal(pooled(backbones.load(f"{name}:stages=1")), pooled(backbones.load(name)))
    with pytest.raises(UsageError, match=r"stages=2, and there is 1 part behind its input \(block 0\)"):
        backbones.load(f"{name}:stages=2")


def test_cutting_leaves_modes_and_draws_alone(mobile: str) -> None:
    whole = backbones.load(mobile)
    modes = {n: m.training for n, m in whole.named_modules()}
    state = torch.get_rng_state()
    possible(whole)
    assert {n: m.training for n, m in whole.named_modules()} == modes
    made = cut(whole, 3)
    assert torch.equal(torch.get_rng_state(), state)
    places = {m for m in made.modules() if isinstance(m, nn.Identity)}  # of what is gone
    kept = {n.removeprefix("inner."): m.training for n, m in made.inner.named_modules() if m not in places}
    assert kept.items() <= modes.items()
    assert made.training == whole.training


def test_a_cut_can_be_cut_again(mobile: str, tmp_path: Path) -> None:
    made = cut(backbones.load(f"{mobile}:stages=4"), 2)
    assert torch.equal(pooled(made), pooled(backbones.load(f"{mobile}:stages=2")))
    assert made.describe()["stages"] == 2
    assert torch.equal(pooled(built_again(made, tmp_path)), pooled(made))
    assert not isinstance(made.inner, Cut)
    same = cut(backbones.load(f"{mobile}:stages=4"), 4)
    assert torch.equal(pooled(same), pooled(backbones.load(f"{mobile}:stages=4")))
    with pytest.raises(UsageError, match="there are 4 parts"):
        cut(same, 5)


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "whole", "stages", "random"),
    [
        ("timm:resnet18.a1_in1k@abc:stages=3", "timm:resnet18.a1_in1k@abc", 3, False),
        ("timm:resnet18", "timm:resnet18", None, False),
        ("local:/a/b:c=d/net:stages=12", "local:/a/b:c=d/net", 12, False),
        ("local:/a/x:stages=3/net", "local:/a/x:stages=3/net", None, False),
        (r"local:C:\models\net:stages=2", r"local:C:\models\net", 2, False),
        (r"C:\models\x:stages=2\net", r"C:\models\x:stages=2\net", None, False),
        ("run:C:/runs/a:weights=random", "run:C:/runs/a", None, True),
        ("hf:o/n@main:stages=2:weights=random", "hf:o/n@main", 2, True),
        ("hf:o/n:weights=random:stages=2", "hf:o/n", 2, True),
        ("local:f.safetensors?architecture=timm/x:stages=4", "local:f.safetensors?architecture=timm/x", 4, False),
    ],
)
def test_names_are_read_from_their_end(name: str, whole: str, stages: int | None, random: bool) -> None:
    found, asked = _named.read(name)
    assert (found, asked.stages, asked.random) == (whole, stages, random)
    assert _named.read(f"{whole}{asked.suffix}") == (whole, asked)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (":stages=0", "at least 1 is expected"),
        (":stages=-1", "at least 1 is expected"),
        (":stages=two", "stages=two"),
        (":stages=1.5", "whole number"),
        (":stages=", "whole number"),
        (":stages=\u0663", "whole number"),
        (":stages=99999999999999999999", "whole number"),
        (":stages=*", "graft rank --candidates"),
        (":weights=imagenet", "weights=imagenet; possible is :weights=random"),
        (":stages=2:stages=3", "stages= is said twice"),
        (":stages=9", r"stages=9, and there are 7 parts behind its input \(stage 1, .*stage 7\): give 1 to 7"),
    ],
)
def test_bad_ends_are_refused(mobile: str, end: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        backbones.load(f"{mobile}{end}")


def test_a_folder_that_is_called_so_is_a_folder(mobile: str, tmp_path: Path) -> None:
    folder = tmp_path / "net:stages=2"
    folder.symlink_to(mobile.removeprefix("local:"))
    whole = backbones.load(f"local:{folder}")
    assert len(whole.stages()) == 8
    assert backbones.split(str(folder)) == ("local", str(folder))
    assert len(backbones.load(f"local:{folder}:stages=2").stages()) == 3


def test_sources_paths_and_architectures(mobile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(mobile.removeprefix("local:"))
    monkeypatch.chdir(folder.parent)
    assert backbones.split(f"{folder}:stages=3") == ("local", str(folder))
    assert backbones.absolute(f"{folder.name}:weights=random:stages=3") == f"{mobile}:stages=3:weights=random"
    assert backbones.absolute(f"local:{folder.name}:stages=3") == f"{mobile}:stages=3"
    assert backbones.absolute("run:a:stages=3") == f"run:{folder.parent / 'a'}:stages=3"
    assert backbones.absolute("timm:resnet18:stages=3") == "timm:resnet18:stages=3"
    file = tmp_path / "w.safetensors"
    shutil.copy(folder / "model.safetensors", file)
    name = backbones.with_architecture(f"local:{file}:stages=2", "timm/mobilenetv2_035")
    assert name == f"local:{file}?architecture=timm/mobilenetv2_035:stages=2"
    assert backbones.absolute(name) == name
    assert backbones.load(name).describe()["stages"] == 2


def test_the_card_is_called_as_was_asked(mobile: str) -> None:
    made = backbones.load(f"{mobile}:weights=random:stages=2")
    assert made.card.name == f"{mobile}:stages=2:weights=random"
    assert fingerprint(backbones.load(made.card.name)) == fingerprint(made)


def test_cuts_are_listed_for_a_star(mobile: str) -> None:
    plain = [f"{mobile}:stages={k}" for k in range(1, 7)]
    assert backbones.cuts(mobile) == backbones.cuts(f"{mobile}:stages=*") == plain
    assert backbones.cuts(f"{mobile}:stages=*:weights=random")[:1] == [f"{mobile}:stages=1:weights=random"]
    with pytest.raises(UsageError, match="says how many parts already"):
        backbones.cuts(f"{mobile}:stages=2")


# ------------------------------------------------------------------------------------------ decoys


@pytest.mark.parametrize("kind", [("timm", "resnet"), ("text", "bert"), ("vision", "mobilenet_v1")], ids="-".join)
def test_random_weights_are_the_same_each_time(place: Path, kind: tuple[str, str]) -> None:
    name = f"local:{folder_of(place / '-'.join(kind), *kind)}"
    torch.manual_seed(1)
    whole, state = backbones.load(name), torch.get_rng_state()
    torch.manual_seed(1)
    made = backbones.load(f"{name}:weights=random")
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's draws change
    assert fingerprint(backbones.load(f"{name}:weights=random")) == fingerprint(made) != fingerprint(whole)
    assert made.source_head is None
    assert made.card.trained_on == backbones.NOTHING
    assert made.card.top1 is None
    assert made.card.license == "Apache-2.0"
    assert made.card.size == whole.card.size
    assert count(made) == count(whole)
    assert made.describe() == whole.describe()
    part = backbones.load(f"{name}:stages=1:weights=random")
    assert {k: v.sum().item() for k, v in part.inner.state_dict().items()}.items() <= {
        k: v.sum().item() for k, v in made.state_dict().items()
    }.items()


def test_a_random_network_has_no_published_accuracy(place: Path, tmp_path: Path) -> None:
    folder = models.timm_folder(tmp_path / "net")
    (folder / "CARD.json").write_text(json.dumps({"reported_imagenet_top1": "71.9", "training_data": "ImageNet-1k"}))
    assert backbones.load(f"local:{folder}").card.top1 == 71.9
    assert backbones.load(f"local:{folder}:stages=2").card.top1 is None
    assert backbones.load(f"local:{folder}:stages=2").card.trained_on == "ImageNet-1k"
    assert backbones.load(f"local:{folder}:weights=random").card.top1 is None


def test_features_of_different_cuts_are_kept_apart(mobile: str) -> None:
    ends = ("", ":stages=1", ":stages=2", ":stages=7", ":weights=random", ":stages=2:weights=random")
    keys = {features.key(backbones.load(f"{mobile}{end}"), samples("picture")) for end in ends}
    assert len(keys) == len(ends)
    again = features.key(backbones.load(f"{mobile}:stages=2"), samples("picture"))
    assert again in keys


# --------------------------------------------------------------------------------------- whole runs


def test_a_cut_is_chosen_by_its_name_in_a_source_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's backbone needs nothing but the interface."""

    class Source:
        @staticmethod
        def load(name: str, schema: Any = None) -> Backbone:
            return Wired()

    monkeypatch.setitem(registry._loaded, ("backbones", "wired"), Source)
    monkeypatch.setitem(registry._plugins["backbones"], "wired", Path(__file__))
    made = backbones.load("wired:any:stages=1")
    assert [s for s, _ in made.stages()] == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("end", [":stages=2", ":stages=2:weights=random", ":weights=random"])
def test_a_fit_on_a_part_saves_loads_and_repeats(photos: Path, zoo: Path, tmp_path: Path, end: str) -> None:
    name = f"local:{zoo / 'tiny'}{end}"
    run = graft.fit(
        photos,
        backbone=name,
        recipe="probe > finetune:depth=2",
        set=["stage.1.epochs=2"],
        out=tmp_path / "run",
        quiet=True,
    )
    assert name in (run.folder / "recipe.toml").read_text()
    files = [str(p) for p in sorted(photos.rglob("*.png"))[:6]]
    loaded = graft.load(run.folder)
    assert golden.make(loaded.model, loaded.task) == golden.make(run.model, run.task)
    assert loaded.predict(files).equals(run.predict(files))
    origin, tuned = backbones.load(name).state_dict(), loaded.model.backbone.state_dict()
    moved = [n for n, v in origin.items() if n in tuned and not torch.equal(v, tuned[n])]
    assert any("weight" in n for n in moved)
    again = graft.fit(run.folder / "recipe.toml", out=tmp_path / "again", quiet=True)
    assert fingerprint(again.model) == fingerprint(loaded.model)


@pytest.mark.slow
def test_texts_are_fitted_on_a_part_of_an_encoder(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "WHOLE_BYTES", 0)  # only what differs is saved: the rest comes by the card's name
    run = graft.fit(
        reviews,
        backbone=f"local:{bert}:stages=1",
        recipe="finetune",
        set=["stage.0.epochs=1"],
        out=tmp_path / "run",
        quiet=True,
    )
    again = graft.load(run.folder)
    assert again.meta["weights"] != "whole"
    assert fingerprint(again.model) == fingerprint(run.model)
    assert isinstance(again.model.backbone, Cut)
    part = backbones.load(f"run:{run.folder}:stages=1")
    assert torch.equal(pooled(part), pooled(again.model.backbone))
    with pytest.raises(UsageError, match="the first parts of a network have no form in transformers"):
        again.to_transformers()
    other = models.write_csv(tmp_path / "other.csv", models.texts(80, seed=5))
    later = graft.fit(
        other,
        backbone=f"run:{run.folder}:stages=1",
        recipe="probe",
        keep=str(reviews),
        out=tmp_path / "later",
        quiet=True,
    )
    assert "its head reads the whole of it" in later.report["forgetting"]["head"]["why"]


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "zoo").is_dir(), reason="../shared/zoo is not here")
def test_real_weights_can_be_cut() -> None:
    for folder in sorted((SHARED / "zoo").iterdir()):
        name = f"local:{folder}"
        n = len(backbones.cuts(name))
        holds(name, ("zoo", folder.name), [1, n // 2, n])
