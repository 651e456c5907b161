"""Every row of the design's table of cases trains under the one loop, alone and in pairs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from torch.nn import functional as F
from toy_methods import (
    L2SP,
    Balance,
    Contrast,
    CoTuning,
    Distill,
    Ema,
    FixMatch,
    GroupDRO,
    Lora,
    MaskedPatches,
    Mixup,
    Pairs,
    PCGrad,
    Sam,
    named,
    tune,
)
from toy_tasks import Classes, Masks, Numbers, OneBox, Several, Tags
from toys import Toy, falls, model_of, same, train, weights

from graft import backbones, features, registry, seeds, views
from graft.data import Data, Sample
from graft.errors import UsageError
from graft.loading import load
from graft.methods import Method, freeze
from graft.methods.nearest_neighbour import NearestNeighbour
from graft.methods.probe import Probe
from graft.model import Batch, Model
from graft.train.loop import steps


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Toys are too small to share out: on a busy machine two threads wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---------------------------------------------------------------------------------- x, y and where


def red(picture: Any) -> np.ndarray:
    """Where a scene shows its rectangle: [h, w] of truth."""
    array = np.asarray(picture).astype(int)
    return (array[..., 0] > 120) & (array[..., 1] < 60)


def test_a_view_moves_boxes_with_the_pixels_they_hold() -> None:
    kept = 0
    for i, sample in enumerate(toys.boxed(40)):
        seen = views.view(sample, "weak", seeds.rng(i))
        again = views.view(sample, "weak", seeds.rng(i))
        assert np.array_equal(np.asarray(seen.x), np.asarray(again.x)), "a view is pure in its generator"
        ys, xs = np.nonzero(red(seen.x))
        if not len(seen.y.xyxy):
            assert len(xs) == 0 or min(np.ptp(xs), np.ptp(ys)) < 1
            continue
        box = [int(v) for v in seen.y.xyxy[0]]
        assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        kept += 1
    assert kept > 30


def test_where_brings_boxes_to_the_input_and_back() -> None:
    task, backbone = OneBox(), Toy("picture", size=32)
    for i, sample in enumerate(toys.boxed(20)):
        seen = views.view(sample, "weak", seeds.rng("w", i))
        encoded = backbone.encode(seen.x)
        if not len(seen.y.xyxy):
            continue
        target = task.target(seen, encoded.where)
        back = task.decode(target.xyxy[:1], [encoded.where])[0]
        assert np.allclose(back, seen.y.xyxy[0].numpy(), atol=1e-3)
        left, top, right, bottom = (target.xyxy[0] * 32).clamp(0, 32).round().int().tolist()
        lit = encoded.x[0] > 0.5  # the red channel, normalised
        outside = lit.clone()
        outside[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = False
        assert not outside.any(), "every lit pixel of the input lies in the target's box"


def test_boxes_train_with_a_head_that_reads_targets_and_predict_without_them() -> None:
    task, data = OneBox(), toys.whole(toys.boxed())
    model = model_of(task, data, "picture")
    records = train(model, task, data, [tune(decay=1.0)], epochs=20, view="weak")
    assert falls(records)
    assert list(records[0].terms) == ["l1"]
    boxes = model.predict(data.test, task)
    assert len(boxes) == len(data.test)
    assert all(b.shape == (4,) for b in boxes)


def test_masks_move_with_their_pictures_and_train() -> None:
    task, data = Masks(), toys.whole(toys.masked())
    for i, sample in enumerate(data.train):
        seen = views.view(sample, "weak", seeds.rng("m", i))
        assert np.array_equal(red(seen.x), np.asarray(seen.y) == 1)
    assert falls(train(model_of(task, data, "picture"), task, data, [tune()], epochs=10, view="weak"))


def test_tags_follow_offsets_and_dropped_words() -> None:
    task, data = Tags(), toys.whole(toys.texts())
    dropped = 0
    for i, sample in enumerate(data.train):
        seen = views.view(sample, "strong", seeds.rng("t", i))
        words = seen.x.split()
        assert [int("x" in w) for w in words] == list(seen.y)
        dropped += len(words) < len(sample.y)
    assert dropped
    model = model_of(task, data, "text")
    assert falls(train(model, task, data, [tune(decay=1.0)], epochs=15, lr=3e-2, view="strong"))
    for sample, tags in zip(data.test, model.predict(data.test, task), strict=True):
        assert len(tags) == len(sample.y)


# ------------------------------------------------------------------------------------- source head


def test_the_source_head_stays_with_the_backbone_and_answers() -> None:
    data = toys.rows()
    backbone = Toy("row", classes=5)
    assert backbone.source_head is not None
    model = Model(backbone, Classes().head(backbone, data))
    batch = load(data.train, backbone, Classes(), "none", (0,), range(24))
    with torch.no_grad():  # LEEP's first half: source classes seen with each target class
        source = backbone.source_head(model(batch).features, batch)[0].softmax(1)  # [b, 5]
    joint = batch.y.T @ source / len(source)
    assert joint.sum().item() == pytest.approx(1, abs=1e-6)
    assert all("source_head" not in n for _, names in backbone.stages() for n in names)


def test_co_tuning_trains_the_source_head_and_keeps_it_in_the_backbone() -> None:
    task, data = Classes(), toys.rows()
    model = model_of(task, data, classes=5)
    before = weights(model.backbone.source_head)
    records = train(model, task, data, [tune(), named("co_tuning", CoTuning())], epochs=5)
    assert falls(records)
    assert not same(before, weights(model.backbone.source_head))
    assert not model.aux


def test_a_source_head_that_is_the_models_head_is_not_frozen_with_the_backbone() -> None:
    task, data = Classes([f"c{i}" for i in range(5)], own_head=True), toys.rows(classes=5)
    model = model_of(task, data, classes=5)
    assert model.backbone.source_head is None
    assert model.head is not None
    freeze(model.backbone)
    assert all(p.requires_grad for p in model.head.parameters())
    before = weights(model)
    train(model, task, data, [tune(depth=1)])
    assert not torch.equal(before["head.classifier.weight"], model.head.classifier.weight)


# ---------------------------------------------------------------------------------- other encoders


def test_a_teacher_of_another_input_size_sees_the_same_view() -> None:
    task, data = Masks(), toys.whole(toys.masked())
    teacher = model_of(task, data, "picture", size=32, seed=3)
    seen: list[Batch] = []

    class Keeps(Method):
        def batch(self, batch: Batch, rng: np.random.Generator) -> Batch:
            seen.append(batch)
            return batch

    methods = [tune(), named("distill", Distill(teacher)), named("keeps", Keeps())]
    before = weights(teacher)
    assert falls(train(model_of(task, data, "picture"), task, data, methods, epochs=10, view="weak"))
    assert same(before, weights(teacher))
    assert seen[0].x.shape[2:] == (16, 16)
    other = seen[0].extra["teacher"]
    assert other.x.shape[2:] == (32, 32)
    assert other.where[0]["size"] == 32
    small, large = seen[0].x[:, 0] > 0.5, F.avg_pool2d(other.x, 2)[:, 0] > 0.5  # where the rectangle is lit
    assert (small & large).sum() > 0.7 * (small | large).sum(), "the same crop and flip"


def test_two_encoders_of_one_name_are_refused() -> None:
    task, data = Classes(), toys.rows()
    a, b = (named(n, Distill(model_of(task, data))) for n in "ab")
    with pytest.raises(UsageError, match="teacher"):
        train(model_of(task, data), task, data, [tune(), a, b])


# ------------------------------------------------------------------------------------------ mixing


def test_mix_blends_x_extra_weights_and_y() -> None:
    x, y = torch.tensor([[0.0], [8.0]]), torch.eye(2)
    batch = Batch(x, y, ["a", "b"], weight=torch.tensor([1.0, 3.0]), extra={"t": Batch(x * 10)})
    mixed = batch.mix(torch.tensor([1, 0]), 0.75)
    assert mixed.x.flatten().tolist() == [2.0, 6.0]
    assert mixed.extra["t"].x.flatten().tolist() == [20.0, 60.0]
    assert mixed.weight.tolist() == [1.5, 2.5]
    assert mixed.y.tolist() == [[0.5, 0.5], pytest.approx([0.1, 0.9])]
    assert mixed.id == ["a", "b"]
    w, one = torch.tensor([1.0, 3.0]), torch.tensor([[1.0, 2.0], [0.5, -1.0]])
    apart = sum(lam * w[i] * -(y[i] * one[r]).sum() for r in (0, 1) for lam, i in ((0.75, r), (0.25, 1 - r)))
    assert (mixed.weight * -(mixed.y * one).sum(1)).sum().item() == pytest.approx(apart.item())


def test_mix_refuses_what_has_no_mean() -> None:
    perm = torch.tensor([1, 0])
    with pytest.raises(UsageError, match="token"):
        Batch(torch.ones(2, 3, dtype=torch.long), torch.eye(2), weight=torch.ones(2)).mix(perm, 0.7)
    tokens = {"t": Batch(torch.ones(2, 3, dtype=torch.long))}
    with pytest.raises(UsageError, match="token"):
        Batch(torch.ones(2, 3), torch.eye(2), weight=torch.ones(2), extra=tokens).mix(perm, 0.7)
    with pytest.raises(UsageError, match="probabilities"):
        Batch(torch.ones(2, 3), torch.tensor([0, 1]), weight=torch.ones(2)).mix(perm, 0.7)
    with pytest.raises(ValueError, match=r"0\.5"):
        Batch(torch.ones(2, 3), torch.eye(2), weight=torch.ones(2)).mix(perm, 0.3)


def test_mixup_trains_with_soft_targets() -> None:
    task, data = Classes(), toys.rows()
    assert falls(train(model_of(task, data), task, data, [tune(), named("mixup", Mixup())], epochs=10))


def test_mixup_of_texts_is_refused() -> None:
    task = Classes(("a", "b"))
    data = toys.whole([replace(s, y=s.y[0]) for s in toys.texts()])
    with pytest.raises(UsageError, match="token ids cannot be mixed"):
        train(model_of(task, data, "text"), task, data, [tune(), named("mixup", Mixup())])


# ----------------------------------------------------------------------------------------- weights


def test_group_dro_raises_the_weight_of_the_hard_domain() -> None:
    data = toys.rows()
    wrong = [replace(s, y=(s.y + i // 6) % 3) for i, s in enumerate(data.train)]  # nothing to learn in b
    data = replace(data, train=[w if s.domain == "b" else s for s, w in zip(data.train, wrong, strict=True)])
    dro = GroupDRO()
    train(model_of(Classes(), data), Classes(), data, [tune(), named("group_dro", dro)], epochs=15)
    assert dro.q.sum().item() == pytest.approx(1, abs=1e-5)
    assert dro.q[1] > 0.55


def test_class_balance_and_sample_weights_make_the_weighted_mean() -> None:
    task, data = Classes(), toys.rows(12)
    kept = [s for s in data.train if s.y < 2 or s.id == "train2"]
    data = replace(data, train=[replace(s, weight=2.0 if i % 2 else 0.5) for i, s in enumerate(kept)])
    model, balance = model_of(task, data), named("balance", Balance())
    expected = [s.weight * float(balance_weight(data)[s.y]) for s in data.train]
    records = train(model, task, data, [tune(), balance], batch=64, epochs=1)
    assert records[0].terms["cross_entropy"] == pytest.approx(np.mean(expected) * np.log(3), rel=1e-5)


def balance_weight(data: Data) -> np.ndarray:
    counts = np.bincount([s.y for s in data.train])
    return len(data.train) / (len(counts) * counts)


def test_a_scalar_loss_refuses_weights() -> None:
    data = toys.rows(12)
    data = replace(data, train=[replace(s, weight=0.5 + (i % 2)) for i, s in enumerate(data.train)])
    with pytest.raises(UsageError, match="cannot be weighted"):
        train(model_of(Numbers(), data), Numbers(scalar=True), data, [tune()])
    assert train(model_of(Numbers(), data), Numbers(), data, [tune()])


# --------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("masked", [False, True])
def test_sam_without_radius_is_plain_training_bit_for_bit(masked: bool) -> None:
    task, data = Classes(), toys.rows(unlabelled=30)
    found = []
    for extra in ([], [named("sam", Sam(rho=0.0))], [named("sam", Sam(rho=0.5))]):
        model = model_of(task, data, norm=True, dropout=0.3)
        both = [named("fixmatch", FixMatch()), named("mixup", Mixup())]
        others = [named("masked", MaskedPatches())] if masked else both  # one makes passes of its own
        train(model, task, data, [tune(norms_from=0), *others, *extra])
        found.append(weights(model))
    assert found[0]["backbone.trunk.norm.num_batches_tracked"] > 0
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_pcgrad_owns_the_gradient_of_two_terms() -> None:
    task, data = Several({"a": Classes(), "b": Classes()}), two_tasks()
    assert falls(train(model_of(task, data), task, data, [tune(), named("pcgrad", PCGrad())], epochs=10))


# ------------------------------------------------------------------------------- sampling and tasks


def test_a_pair_sampler_gives_pairs_of_one_class() -> None:
    task, data, seen = Classes(), toys.rows(), []

    class Keeps(Method):
        def batch(self, batch: Batch, rng: np.random.Generator) -> Batch:
            seen.append(batch.y.argmax(1))
            return batch

    records = train(
        model_of(task, data), task, data, [tune(), named("pairs", Pairs()), named("keeps", Keeps())], epochs=4
    )
    assert falls(records)
    assert all((y[0::2] == y[1::2]).all() for y in seen)


def two_tasks() -> Data:
    a, b = toys.rows(16, task="a"), toys.rows(12, seed=5, task="b")
    joined = [s for pair in itertools.zip_longest(a.train, b.train) for s in pair if s is not None]
    return Data(joined, a.valid + b.valid, a.test + b.test, labels=("c0", "c1", "c2"))


def test_two_data_sets_with_two_heads_are_one_composite_task() -> None:
    task, data = Several({"a": Classes(), "b": Classes()}), two_tasks()
    model = model_of(task, data)
    records = train(model, task, data, [tune()], epochs=15)
    assert set(records[0].terms) == {"a/loss", "b/loss"}
    for name in ("a/loss", "b/loss"):
        assert np.mean([r.terms[name] for r in records[-4:]]) < np.mean([r.terms[name] for r in records[:4]])
    answers = model.predict(data.test, task, size=5)
    assert [name for name, _ in answers] == [s.task for s in data.test]


# ---------------------------------------------------------------------------------- without labels


@pytest.mark.parametrize("labelled", [True, False])
def test_contrast_of_two_crops_trains_without_labels(labelled: bool) -> None:
    task, data = Masks(), toys.whole(toys.masked())
    if not labelled:
        data = replace(data, train=[], unlabeled=[replace(s, y=None) for s in data.train])
    model = model_of(task, data, "picture")
    head = weights(model.head)
    records = train(model, task, data, [tune(), named("contrast", Contrast())], epochs=20)
    assert falls(records)
    assert list(records[0].terms) == ["contrast"]
    assert len(records) == 40, "an epoch passes over what the stage sees"
    assert same(head, weights(model.head))


def test_two_views_of_one_spec_differ_and_share_their_draws() -> None:
    data, seen = toys.whole(toys.masked()), []

    class Looks(Method):
        supervised, views = False, ("strong", "strong:32")

        def loss(self, step: Any) -> torch.Tensor:
            assert step.batch.y is None
            seen.append(step.batch.views)
            return step.see("strong:32").features.pooled.square().mean()

    task = Masks()
    train(
        model_of(task, data, "picture"),
        task,
        data,
        [tune(), named("contrast", Contrast()), named("looks", Looks())],
        epochs=1,
    )
    assert [len(v) for v in seen[0].values()] == [2, 1]
    assert not torch.equal(seen[0]["strong"][0].x, seen[0]["strong"][1].x)
    assert seen[0]["strong:32"][0].x.shape[2:] == (32, 32)


@pytest.mark.parametrize("kind", ["row", "picture"])
def test_masked_patches_are_pretrained_through_embed(kind: str) -> None:
    task = Classes() if kind == "row" else Masks()
    data = toys.rows() if kind == "row" else toys.whole(toys.masked())
    model = model_of(task, data, kind, dropout=0.1)
    assert falls(train(model, task, data, [tune(), named("masked", MaskedPatches())], epochs=20))
    assert not model.aux


# ------------------------------------------------------------------------------------ no gradients


@pytest.mark.parametrize("method", [Probe(), NearestNeighbour()])
def test_a_tuner_may_solve_on_the_cached_pass(method: Method) -> None:
    task, data = Classes(), toys.rows(60)
    backbone = Toy("row", norm=True)
    model = Model(backbone, task.head(backbone, data))
    before = weights(backbone)
    table, again = (features.extract(backbone, data.train, size=7) for _ in range(2))
    assert (table.cached, again.cached) == (False, True) or again.cached
    assert torch.equal(table.pooled, again.pooled)
    batch = load(data.train, backbone, task, "none", (0,), range(60))
    method.solve(model, task, table, batch)
    assert same(before, weights(backbone))
    truth = [s.y for s in data.test]
    assert task.measure(model.predict(data.test, task), truth)["accuracy"] > 0.6


def test_two_models_average_into_a_soup() -> None:
    task, data = Classes(), toys.rows()
    models = [model_of(task, data) for _ in range(2)]
    for seed, model in enumerate(models):
        train(model, task, data, [tune()], seed=seed, epochs=4)
    soup = model_of(task, data)
    ends = [weights(m) for m in models]
    soup.load_state_dict({n: (a + ends[1][n]) / 2 for n, a in ends[0].items()})
    losses = [task.measure(m.predict(data.train, task), [s.y for s in data.train])["log_loss"] for m in (*models, soup)]
    assert losses[2] < max(losses[:2]) + 0.05


# ----------------------------------------------------------------------------------------- sources

SOURCE = '''"""Ratings: an embedding for each user and item of the vocabulary."""
import torch
from torch import nn
from graft.model import Backbone, Card, Encoded, Features


class Ratings(Backbone):
    modality, dim = "rating", 4

    def __init__(self, users, items):
        super().__init__()
        self.places = {name: i for i, name in enumerate([*users, *items])}
        self.table = nn.Embedding(len(self.places), 4)
        self.card = Card("ratings")

    def encode(self, x, size=None):
        return Encoded(torch.tensor([self.places[name] for name in x]))

    def collate(self, xs):
        return torch.stack(xs)

    def stages(self):
        return [("table", ["table.weight"])]

    def embed(self, x):
        return self.table(x)

    def forward(self, x, embedded=None, mask=None):
        tokens = self.embed(x) if embedded is None else embedded
        return Features(tokens.prod(1), tokens)

    def describe(self):
        return {"source": "toyratings"}


def names(pattern=""):
    return ["embedding"]


def load(name, schema=None):
    return Ratings(schema["users"], schema["items"])
'''


def test_a_source_gets_vocabularies_from_the_data(tmp_path: Path) -> None:
    (tmp_path / "toyratings.py").write_text(SOURCE)
    registry.plugin(tmp_path / "toyratings.py")
    pairs = [Sample((f"u{u}", f"i{i}"), float((u % 2) == (i % 2)), f"{u}-{i}") for u in range(6) for i in range(5)]
    data = Data(
        pairs,
        pairs[:4],
        pairs[:4],
        schema={"users": [f"u{u}" for u in range(6)], "items": [f"i{i}" for i in range(5)]},
    )
    task = Numbers()
    torch.manual_seed(0)
    backbone = backbones.load("toyratings:embedding", data.schema)
    model = Model(backbone, task.head(backbone, data))
    assert falls(train(model, task, data, [tune()], epochs=10, lr=3e-2))


# ------------------------------------------------------------------------------ teachers and starts


def test_an_average_of_the_model_is_swapped_in_at_the_end() -> None:
    task, data, ema = Classes(), toys.rows(), Ema()
    model = model_of(task, data, norm=True)
    records = train(model, task, data, [tune(norms_from=0), named("ema", ema)], epochs=10)
    assert falls(records)
    assert ema.seen == len(records)
    assert same(weights(model), weights(ema.teacher))


def test_l2_sp_in_a_second_stage_stays_near_the_pretrained_weights() -> None:
    task, data, loads = Classes(), toys.rows(), []

    def origin() -> Toy:
        loads.append(1)
        return Toy("row")

    model = model_of(task, data)
    train(model, task, data, [tune()], epochs=5)
    middle = weights(model.backbone)
    start = weights(Toy("row"))
    train(model, task, data, [tune(), named("l2_sp", L2SP(weight=50.0))], epochs=15, origin=origin)
    gone = [sum((w[n] - start[n]).square().sum().item() for n in start) for w in (middle, weights(model.backbone))]
    assert gone[1] < 0.5 * gone[0]
    assert len(loads) == 1, "loaded once a stage, however many steps look at it"


def test_l2_sp_beside_lora_holds_nothing_and_is_refused() -> None:
    task, data = Classes(), toys.rows()
    methods = [named("lora", Lora()), named("l2_sp", L2SP())]
    with pytest.raises(UsageError, match="do not move"):
        train(model_of(task, data), task, data, methods, origin=lambda: Toy("row"))


@pytest.mark.parametrize("flexible", [False, True])
def test_fixmatch_with_lora_learns_and_merges(flexible: bool) -> None:
    task, data = Classes(), toys.rows(unlabelled=40)
    model = model_of(task, data)
    before = weights(model)
    fixmatch = FixMatch(flexible=flexible)
    records = train(model, task, data, [named("fixmatch", fixmatch), named("lora", Lora())], epochs=15, lr=3e-2)
    assert falls(records)
    assert weights(model).keys() == before.keys(), "adapters are merged"
    assert not torch.equal(before["backbone.trunk.first.weight"], model.backbone.trunk.first.weight)
    assert torch.equal(before["backbone.stem.weight"], model.backbone.stem.weight)
    assert sum(fixmatch.met) > 0
    assert task.measure(model.predict(data.test, task), [s.y for s in data.test])["accuracy"] >= 0.5


# ------------------------------------------------------------------------------------------- pairs

OTHERS: dict[str, Callable[[Data], Method]] = {
    "mixup": lambda data: Mixup(),
    "group_dro": lambda data: GroupDRO(),
    "balance": lambda data: Balance(),
    "pairs": lambda data: Pairs(),
    "sam": lambda data: Sam(),
    "pcgrad": lambda data: PCGrad(),
    "l2_sp": lambda data: L2SP(),
    "co_tuning": lambda data: CoTuning(),
    "distill": lambda data: Distill(model_of(Classes(), data, seed=4)),
    "ema": lambda data: Ema(),
    "fixmatch": lambda data: FixMatch(),
    "flexmatch": lambda data: FixMatch(flexible=True),
    "contrast": lambda data: Contrast(),
    "masked": lambda data: MaskedPatches(),
}
TUNERS: dict[str, Callable[[], Method]] = {"finetune": lambda: tune(decay=1.0), "lora": lambda: Lora()}
TRIPLES = [(t, *pair) for t in TUNERS for pair in itertools.combinations(OTHERS, 2)]
DRAWN = [TRIPLES[i] for i in sorted(seeds.rng("tenth").permutation(len(TRIPLES))[: len(TRIPLES) // 10])]


def refused(names: Sequence[str]) -> bool:
    """Pairs that cannot share a stage, as the design has it."""
    blind, gradient = {"contrast", "masked"} & {*names}, {"sam", "pcgrad"} <= {*names}
    needy = {"mixup", "group_dro", "balance", "co_tuning"} & {*names}
    return gradient or bool(blind and needy) or {"lora", "l2_sp"} <= {*names}


def run_triple(names: Sequence[str]) -> None:
    data, task = toys.rows(24, unlabelled=24), Classes()
    methods = [named(names[0], TUNERS[names[0]]())] + [named(n, OTHERS[n](data)) for n in names[1:]]
    model = model_of(task, data, norm=True, dropout=0.1, classes=5)
    run = steps(model, task, toys.stage_of(epochs=15), data, methods, origin=lambda: Toy("row", norm=True))
    if refused(names):
        with pytest.raises(UsageError):
            list(run)
        return
    assert falls(list(run)), names


@pytest.mark.parametrize("names", DRAWN, ids="+".join)
def test_a_tenth_of_the_pairs_train(names: Sequence[str]) -> None:
    run_triple(names)


@pytest.mark.slow
@pytest.mark.parametrize("names", [t for t in TRIPLES if t not in DRAWN], ids="+".join)
def test_all_other_pairs_train(names: Sequence[str]) -> None:
    run_triple(names)
