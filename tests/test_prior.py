"""The prior: the shipped table, names that mean its models, and the rule for models that are not in it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from graft.errors import DataError
from graft.model import Card
from graft.ranking import prior
from graft.ranking.prior import entry, prior_of, published

SHARED = Path(__file__).parents[2] / "shared"
SHA = "@" + "0f" * 32


def card(name: str, millions: float = 25.6, top1: float | None = None, trained_on: str = "ImageNet-1k") -> Card:
    return Card(name, parameters=round(millions * 1e6), top1=top1, trained_on=trained_on)


def test_the_table_is_whole() -> None:
    table = published()
    assert len(table.models) == 11 and len(table.sets) == 19
    by_table = {t: sum(1 for name, _ in table.sets if name == t) for t in ("SFDA", "TLlib")}
    assert by_table == {"SFDA": 11, "TLlib": 8}
    missing = [(s, table.models[j]) for s, j in np.argwhere(np.isnan(table.errors))]
    assert {m for _, m in missing} == {"resnet34"} and len(missing) == 8  # TLlib has no ResNet-34
    assert np.nanmin(table.errors) > 0 and np.nanmax(table.errors) < 60


def test_both_files_say_their_source() -> None:
    folder = Path(prior.__file__).parent
    for file, said in ((prior.FIGURES, ("ECCV 2022", "56ccfd7416b2")), (prior.MODELS, ("torchvision",))):
        head = "".join(line for line in (folder / file).read_text("utf-8").splitlines(True) if line.startswith("#"))
        assert all(s in head for s in said)


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "anchors").is_dir(), reason="../shared/anchors is not here")
def test_the_shipped_figures_are_the_published_ones() -> None:
    with (SHARED / "anchors/finetune_accuracy_sfda.csv").open() as lines:
        raw = [r for r in csv.DictReader(lines) if r["pool"] == "imagenet_supervised"]
    table = published()
    for r in raw:
        at = table.sets.index(("SFDA", r["dataset"])), table.models.index(r["model"])
        assert 100 - table.errors[at] == pytest.approx(float(r["finetune_accuracy"]), abs=1e-9)
    with (SHARED / "anchors/model_ranking_tllib.csv").open() as lines:
        tllib = sorted(float(r["finetune_accuracy"]) for r in csv.DictReader(lines))
    ours = table.errors[[i for i, (t, _) in enumerate(table.sets) if t == "TLlib"]]
    assert sorted(100 - ours[np.isfinite(ours)]) == pytest.approx(tllib, abs=1e-9)


def test_torchvisions_own_figures_agree() -> None:
    from graft.backbones.torchvision import published as said

    table = published()
    for model, top1 in zip(table.models, table.top1, strict=True):
        assert said(model, "IMAGENET1K_V1") == pytest.approx(top1, abs=0.006)


@pytest.mark.parametrize(
    ("given", "model"),
    [
        (card(f"torchvision:resnet50.IMAGENET1K_V1{SHA}"), "resnet50"),
        (card(f"torchvision:mnasnet1_0.IMAGENET1K_V1{SHA}", 4.4), "mnasnet1_0"),
        (card(f"torchvision:resnet50.IMAGENET1K_V2{SHA}", top1=80.86), None),
        (card("torchvision:resnet18.IMAGENET1K_V1"), None),
        (card("timm:resnet50.tv_in1k@0123abc"), "resnet50"),
        (card("timm:resnet50.tv_in1k"), "resnet50"),
        (card("timm:resnet50.a1_in1k@0123abc", top1=76.13), None),  # the name says that it is another training
        (card("timm:resnet50.tv2_in1k@0123abc", top1=80.86), None),
        (card("local:/zoo/mobilenetv2_100_tv", 3.54, 71.88, "ImageNet-1k, standard 1000-class order"), "mobilenet_v2"),
        (card("local:/zoo/other", 3.54, 72.9), None),
        (card("local:/zoo/cut", 2.2, 71.88), None),  # a part of it
        (card("local:/zoo/birds", 3.54, 71.88, "iNaturalist, then ImageNet-1k"), None),
        (card("local:/zoo/silent", 3.54), None),
        (card("bundled:all-MiniLM-L6-v2", 22.0, None, "a billion pairs of sentences"), None),
    ],
)
def test_names_that_mean_a_model_of_the_table(given: Card, model: str | None) -> None:
    assert entry(given) == model
    told = prior_of(given)
    assert told.source.startswith("published fine-tunes") == (model is not None)


def test_the_order_is_that_of_mean_accuracy() -> None:
    table = published()
    complete = [m for m in table.models if m != "resnet34"]
    means = np.nanmean(table.errors[:, [table.models.index(m) for m in complete]], axis=0)
    values = [prior_of(card(f"torchvision:{m}.IMAGENET1K_V1")).value for m in complete]
    assert list(np.argsort(values)) == list(np.argsort(means))


def test_a_model_tried_on_fewer_sets_is_placed_fairly_and_less_sure() -> None:
    few, many = (prior_of(card(f"torchvision:{m}.IMAGENET1K_V1")) for m in ("resnet34", "resnet50"))
    assert "11 sets (SFDA)" in few.source and "19 sets (SFDA, TLlib)" in many.source
    assert few.se > many.se
    table = published()
    sfda = [i for i, (t, _) in enumerate(table.sets) if t == "SFDA"]
    gap = {m: table.errors[sfda, table.models.index(m)].mean() for m in ("resnet34", "resnet50")}
    assert few.value - many.value == pytest.approx(np.log(gap["resnet34"] / gap["resnet50"]), abs=0.05)


def test_the_less_is_known_the_wider() -> None:
    known = prior_of(card("torchvision:resnet50.IMAGENET1K_V1"))
    by_top1 = prior_of(card("timm:resnet50.a1_in1k", 25.6, 76.1))
    by_size = prior_of(card("hf:somebody/net", 25.6))
    nothing = prior_of(Card("local:/net"))
    assert known.se < by_top1.se < by_size.se < nothing.se
    assert by_top1.source == "ImageNet top-1 76.1 and 25.6 million parameters"
    assert by_size.source == "its size alone: 25.6 million parameters (no published figure)"
    assert "nothing is known" in nothing.source and nothing.value == 0
    assert abs(by_top1.value - known.value) < 2 * by_top1.se


def test_far_outside_the_table_is_worse_and_less_sure() -> None:
    near, far = prior_of(card("local:/a", 3.5, 71.0)), prior_of(card("local:/b", 0.47, 41.5))
    assert far.value > near.value + 0.3 and far.se > 1.5 * near.se


def test_the_rule_predicts_models_left_out() -> None:
    """Each model of the table as a stranger: its place within what the rule says, and nearer than the average is."""
    rule = prior._rule(frozenset())
    table = published()
    values = np.array([rule.figures[m].value for m in table.models])
    x = np.log(np.stack([100 - table.top1, table.parameters], axis=1))
    off, away = [], []
    for i in range(len(values)):
        others = np.arange(len(values)) != i
        line = prior._line(x[others], values[others] - values[others].mean(), [(1.0, 0.5), (0.0, 0.3)])
        value, se = line.at(x[i])
        error = values[i] - values[others].mean() - value
        off.append(error)
        away.append(abs(error) / se)
    assert np.mean(np.array(away) < 2) >= 0.8
    assert np.mean(np.square(off)) < np.mean(np.square(values * len(values) / (len(values) - 1)))


@pytest.mark.parametrize("said", ["nothing", "nothing (random weights)", "Random initialisation", "untrained", "none"])
def test_random_weights_know_nothing(said: str) -> None:
    told = prior_of(card("torchvision:resnet50.IMAGENET1K_V1", trained_on=said))
    worst = prior_of(card("torchvision:mnasnet1_0.IMAGENET1K_V1", 4.4))
    assert "random" in told.source and told.value > worst.value + 0.3 and told.se > 0.3


def test_training_from_scratch_is_training() -> None:
    assert "size alone" in prior_of(card("hf:x", trained_on="Places365, from scratch")).source


def test_texts_have_no_figures() -> None:
    told = prior_of(card("bundled:all-MiniLM-L6-v2", 22.0, None, "a billion pairs of sentences"), "text")
    assert "text" in told.source and told.value == 0 and told.se > 0.3
    assert "random" in prior_of(card("local:/x", trained_on="nothing"), "text").source


def test_figures_of_the_ranked_set_can_be_left_out() -> None:
    c = card("torchvision:mnasnet1_0.IMAGENET1K_V1", 4.4)
    all_of, without = prior_of(c), prior_of(c, without={"aircraft", "cars"})
    assert "15 sets" in without.source and without.value < all_of.value - 0.05  # MNASNet fails on those two
    assert prior_of(c, without={"no such set"}) == all_of
    with pytest.raises(DataError, match="two data sets"):
        prior_of(c, without={d for _, d in published().sets})


def test_a_damaged_table_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "_rows", lambda file: [{"model": "a", "top1": "x"}])
    published.cache_clear()
    try:
        with pytest.raises(DataError, match="install graft again"):
            published()
    finally:
        published.cache_clear()
