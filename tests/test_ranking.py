"""The ranking: rounds, limits, choice, words, explanation, and what it says of bad input."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from command import call, refused

import graft
from graft import backbones, ranking, sources
from graft.data import Data, Sample
from graft.errors import DataError, SetupError, UsageError
from graft.model import Card
from graft.ranking import Apart, Candidate, Limits, Ranking, contender, forecast, race, similarity
from graft.ranking.explain import dimension, explain
from graft.ranking.limits import permissive
from graft.ranking.prior import prior_of
from graft.ranking.scale import Scale
from graft.recipe import Recipe
from graft.tasks import Task


def reading(source: Any, **asked: Any) -> tuple[Task, Data]:
    """Data as a fit reads them."""
    found, name = sources.resolve(source)
    recipe = Recipe(data=name, **asked)
    task, _ = sources.task_for(found, recipe)
    return task, task.read(found, recipe)


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small networks."""
    root = tmp_path_factory.mktemp("trio")
    for seed, name in enumerate(("a", "b", "c")):
        models.timm_folder(root / name, seed=seed)
    return root


@pytest.fixture(scope="module")
def ranked(trio: Path, photos: Path) -> Ranking:
    return graft.rank(photos, trio)


# ------------------------------------------------------------------------------------- what comes out


def test_each_candidate_has_its_prior_scores_probe_cost_and_interval(ranked: Ranking, trio: Path) -> None:
    assert {Path(c.name).name for c in ranked.candidates} == {"a", "b", "c"}
    assert ranked.rounds == [(ranked.n, 3)] and ranked.measure == "accuracy"
    for c in ranked.candidates:
        assert c.error is None and c.predicted is not None and c.low is not None and c.high is not None
        assert 0 <= c.low <= c.predicted <= c.high <= 1
        assert c.samples == ranked.n and c.probe is not None
        assert c.gflops and c.gflops > 0 and c.ms and c.ms > 0 and c.license == "MIT"
        assert c.prior is not None and c.prior_se and "its size alone" in c.prior_source
        assert set(c.scores) >= {"logme", "leep", "nce", "sfda", "parc", "gbc", "transrate", "cka"}
        for name, value in c.scores.items():
            assert (value is None) == (name in c.reasons)
            assert value is None or math.isfinite(value)
        assert c.scores["leep"] is not None  # the tiny networks have a classifier of five classes
    best = ranked.candidates[0]
    assert [p.better for p in ranked.pairs] == [best.name] * 2
    for p in ranked.pairs:
        assert p.low <= p.difference <= p.high
        assert (p.low <= 0) == (p.worse in ranked.tied)


def test_the_same_data_and_seed_give_the_same_ranking(ranked: Ranking, trio: Path, photos: Path) -> None:
    again = graft.rank(photos, trio)
    for a, b in zip(ranked.candidates, again.candidates, strict=True):
        assert (a.name, a.predicted, a.low, a.high, a.scores) == (b.name, b.predicted, b.low, b.high, b.scores)
    assert again.choice == ranked.choice and again.pairs == ranked.pairs


def test_json_is_whole_and_goes_back(ranked: Ranking) -> None:
    from dataclasses import asdict

    said = json.loads(json.dumps(ranked.plain(), allow_nan=False))
    assert said["level"] == 0.9 and said["sentence"] == ranked.sentence()
    assert Ranking.from_plain(json.loads(json.dumps(asdict(ranked)))) == ranked


def measured(name: str, probe: float, scale: Scale, **scores: float | None) -> forecast.Measured:
    return forecast.Measured(name, prior_of(Card(name)), *forecast.probed(_score(probe), scale, 0.9), scores)


def test_without_learning_the_probe_is_the_prediction_and_noise_is_measurably_worse() -> None:
    scale = Scale(False, 0.5, 200)
    predicted = forecast.predict(forecast.shipped("sound"), [measured("a", 0.95, scale), measured("b", 0.52, scale)])
    assert predicted.order() == [0, 1] and predicted.taught == 0
    assert predicted.interval(0, scale).value == pytest.approx(0.95, abs=0.02)
    assert not race.holds_zero(predicted, 0, 1, scale, False)
    assert race.holds_zero(predicted, 0, 0, scale, False)
    assert forecast.shipped("picture", "numbers").rows == 0 < forecast.shipped("picture").rows


def _score(value: float) -> Any:
    from graft.evaluate import Score

    return Score(value, value - 0.03, min(value + 0.03, 1.0), 200)


@pytest.mark.parametrize("modality", ["picture", "text"])
def test_what_ships_was_learned_from_fine_tunings_and_is_surer_than_nothing(modality: str) -> None:
    made, scale = forecast.shipped(modality), Scale(False, 0.5, 200)
    assert made.rows >= 24 and made.sets >= 3 and {"prior", "probe"} <= set(made.signals)
    told = [measured("a", 0.9, scale), measured("b", 0.6, scale)]
    taught, untaught = (forecast.predict(m, told) for m in (made, forecast.shipped("sound")))
    assert taught.taught == made.rows and untaught.taught == 0 and taught.order() == untaught.order() == [0, 1]
    widths = [np.ptp(p.difference(0, 1, scale)[1:]) for p in (taught, untaught)]
    assert widths[0] < widths[1]


# ------------------------------------------------------------------------------------------- rounds


class Clockwork:
    """Seconds left, which fall with each question."""

    def __init__(self, start: float, step: float) -> None:
        self.now, self.step = start, step

    def __call__(self) -> float:
        self.now -= self.step
        return self.now


def many(n: int, classes: int = 2) -> list[tuple[str, str]]:
    """n texts whose words tell the class."""
    draw = np.random.default_rng(0)
    words = (*models.GOOD, *models.BAD)
    made = []
    for i in range(n):
        k = i % classes
        made.append((f"{words[k % len(words)]} {' '.join(draw.choice(models.FILLER, 4))} {i}", f"class{k}"))
    return made


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("encoders")
    return [f"local:{models.bert_folder(root / f'e{seed}', seed=seed)}" for seed in range(5)]


def test_half_of_the_candidates_go_on_to_more_samples(encoders: list[str]) -> None:
    task, data = reading(many(1500))
    found = ranking.rank(task, data.train, encoders)
    sizes, left = zip(*found.rounds, strict=True)
    assert sizes[0] == 200 and left[0] == 5 and list(sizes) == sorted(set(sizes))
    assert all(after <= max(2, math.ceil(before / 2)) for before, after in itertools.pairwise(left))
    looked = {c.name: c.samples for c in found.candidates}
    assert looked[found.candidates[0].name] == sizes[-1] and min(looked.values()) == 200
    assert found.n == sizes[-1]
    values = [c.predicted for c in found.candidates]
    assert values == sorted(values, reverse=True)


def test_each_earlier_round_is_part_of_the_next_and_holds_every_class() -> None:
    task, data = reading(many(1200, classes=60))
    sizes = race.sizes_of(task, data.train)
    assert sizes == (240, 600, 2000)
    order = race.looked_at(data.train, sizes[-1], 0, task)
    assert len({id(s) for s in order}) == len(order) == len(data.train)
    for size in sizes[:2]:
        counts = np.unique([s.y for s in order[:size]], return_counts=True)[1]
        assert len(counts) == 60 and counts.max() - counts.min() <= 1


def test_little_time_makes_rounds_small_and_no_time_leaves_candidates_out(encoders: list[str]) -> None:
    task, data = reading(many(1500))
    short = ranking.rank(task, data.train, encoders[:3], left=Clockwork(1e-3, 1e-6))
    assert short.rounds == [(race.FEWEST, 3)]
    none = ranking.rank(task, data.train, encoders[:3], left=Clockwork(0.0, 1.0))
    assert [c.error for c in none.candidates] == [None, race.NOT_TRIED, race.NOT_TRIED]
    assert none.choice == encoders[0]


def raced(*candidates: tuple[str, list[float], dict[str, float | None]]) -> race.Race:
    """A race whose candidates have probes on the scale of y round by round, and scores of the first round."""
    made = race.Race.__new__(race.Race)
    made.made, made.scale = forecast.shipped("picture"), Scale(False, 0.5, 200)
    made.rounds = [(200 * 3**k, 0) for k in range(max(len(y) for _, y, _ in candidates))]
    made.pool = []
    for name, ys, scores in candidates:
        told, prior = [(y, 0.01) for y in ys], prior_of(Card(name))
        made.pool.append(contender.Contender(Candidate(name, samples=200), prior, 0.0, first=scores, told=told))
    return made


def test_what_fell_out_is_moved_by_what_the_others_moved() -> None:
    """Two went on and got worse by 0.2 and 0.4 on more samples: the third would have by about 0.3."""
    scores: dict[str, float | None] = {"logme": 1.0}
    later = raced(("a", [-2.0, -1.8], scores), ("b", [-1.9, -1.5], scores), ("c", [-1.0], scores))
    assert later._shifts() == pytest.approx([0.3, 0.0])
    same = raced(("a", [-1.8], scores), ("b", [-1.5], scores), ("c", [-0.7], scores))
    assert later.predicted().mean == pytest.approx(same.predicted().mean)


def test_a_score_counts_in_the_same_units_when_only_two_are_left() -> None:
    """Scores of the first round stand: two that differed little there do not differ more once the others are gone."""
    values = (1.00, 1.01, 0.2, 0.1, 0.0, -0.5)
    first = raced(*((n, [-1.5], {"cka": v, "parc": v}) for n, v in zip("abcdef", values, strict=True))).predicted()
    told = (("a", [-1.5, -1.5]), ("b", [-1.5, -1.5]), *((n, [-1.5]) for n in "cdef"))
    later = raced(*((n, y, {"cka": v, "parc": v}) for (n, y), v in zip(told, values, strict=True))).predicted()
    assert later.mean == pytest.approx(first.mean)


def test_one_that_breaks_later_is_a_row_and_the_ranking_goes_on(
    encoders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data = reading(many(1500))
    whole = race.measure

    def measure(c: Any, task: Task, order: Any, n: int, seed: int) -> None:
        if n > 200 and c.name == broken:
            raise DataError("it broke on more samples")
        whole(c, task, order, n, seed)

    monkeypatch.setattr(race, "measure", measure)
    for broken in encoders[:2]:
        found = ranking.rank(task, data.train, encoders[:4])
        row = next(c for c in found.candidates if c.name == broken)
        assert found.choice and json.dumps(found.plain(), allow_nan=False)
        assert row.error == (None if row.samples == 200 and row.predicted is not None else "it broke on more samples")
        assert row.error is None or found.choice != broken


# ------------------------------------------------------------------------------------------- choice


def row(name: str, predicted: float, gflops: float) -> Candidate:
    return Candidate(name, predicted, predicted - 0.1, predicted + 0.1, gflops=gflops)


@pytest.mark.parametrize(
    ("second", "gflops", "tied", "choice"),
    [(0.897, 0.1, True, "b"), (0.894, 0.1, True, "a"), (0.897, 2.0, True, "a"), (0.897, 0.1, False, "a")],
    ids=["cheaper and near", "half a point is too much", "dearer", "measurably worse"],
)
def test_a_cheaper_one_is_taken_only_where_nothing_tells_and_it_costs_under_half_a_point(
    second: float, gflops: float, tied: bool, choice: str
) -> None:
    made = Ranking([row("a", 0.9, 1.0), row("b", second, gflops)], tied=["b"] if tied else [])
    race._choose(made, Scale(False, 0.5, 100))
    assert made.choice == choice
    assert ("10.0 times fewer operations" in made.chosen_because) == (choice == "b")


def test_half_a_point_of_an_error_is_a_share_of_the_constant_answers() -> None:
    made = Ranking([row("a", 20.0, 1.0), row("b", 20.4, 0.5)], tied=["b"], measure="mae")
    race._choose(made, Scale(True, 100.0, 100))
    assert made.choice == "b" and "of the constant answer's error" in made.chosen_because
    made = Ranking([row("a", 20.0, 1.0), row("b", 20.6, 0.5)], tied=["b"], measure="mae")
    race._choose(made, Scale(True, 100.0, 100))
    assert made.choice == "a"


def test_words_name_the_best_what_cannot_be_told_from_it_and_what_was_taken() -> None:
    made = Ranking([row("a", 0.9, 1.0), row("b", 0.89, 0.1), row("c", 0.5, 0.1)], "a", ["b"], n=200)
    made.pairs = [Apart("a", "b", 0.01, -0.02, 0.04), Apart("a", "c", 0.4, 0.3, 0.5)]
    said = made.sentence()
    assert "a is predicted best on 200 samples, but cannot separate a and b (+1.0 points [−2.0 to +4.0])" in said
    assert "the others are measurably worse" in said
    made.tied = []
    assert "every other measurably worse" in made.sentence()
    assert Ranking([row("a", 0.9, 1.0)], "a").sentence() == "a is the only candidate"
    assert Ranking([Candidate("a", error="broken")]).sentence() == "none of 1 candidates can be used"


def test_what_one_more_minute_would_settle(encoders: list[str]) -> None:
    task, data = reading(many(1500))
    found = ranking.rank(task, data.train, encoders[:2], left=Clockwork(1e-3, 1e-6))
    assert found.tied, "two random encoders of one kind on forty samples"
    assert "one more minute would look at" in found.more and "narrow their difference from" in found.more
    small_task, small = reading(many(60))
    whole = ranking.rank(small_task, small.train, encoders[:2])
    assert not whole.tied or "all training samples were looked at" in whole.more


# ------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("license", "good"),
    [
        ("MIT", True), ("Apache-2.0", True), ("apache-2.0", True), ("BSD (2-clause style, repo LICENCE)", True),
        ("Apache License, Version 2.0", True), ("CC0-1.0", True), ("CC-BY-4.0", True), ("CC-BY-NC-4.0", False),
        ("CC-BY-SA-4.0", False), ("GPL-3.0", False), ("AGPL-3.0", False), ("unknown", False), ("", False),
        ("openrail", False), ("BUSL-1.1", False), ("other (research only)", False), ("submit", False),
        ("not MIT", False),
        ("Apache-2.0 with Commons Clause", False), ("MIT, academic use only", False), ("MIT AND SSPL-1.0", False),
        ("Apache-2.0 (Google Research)", True), ("CC BY 4.0", True), ("BSL-1.0", True), ("BSL-1.1", False),
    ],
)  # fmt: skip
def test_licences_that_ask_for_a_notice_at_most(license: str, good: bool) -> None:
    assert permissive(license) is good


def test_limits_leave_out_with_a_reason_and_the_ranking_goes_on(trio: Path, photos: Path, tmp_path: Path) -> None:
    config = json.loads((trio / "a" / "config.json").read_text())
    config["pretrained_cfg"]["license"] = "cc-by-nc-4.0"
    closed = models.timm_folder(tmp_path / "closed", seed=9)
    (closed / "config.json").write_text(json.dumps(config))
    names = [f"local:{trio / 'a'}", f"local:{closed}"]
    found = graft.rank(photos, names, license="permissive")
    assert found.choice == names[0]
    assert "its licence is 'CC-BY-NC-4.0'" in str(found.candidates[1].error)
    assert graft.rank(photos, names).candidates[1].error is None
    tiny = graft.rank(photos, names[:1], max_mb=1e-6)
    assert tiny.choice is None and "is over --max-mb" in str(tiny.candidates[0].error)
    slow = graft.rank(photos, names[:1], max_ms=1e-6)
    assert slow.choice is None and "ms a sample here is over --max-ms" in str(slow.candidates[0].error)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"max_mb": 0}, "--max-mb 0"), ({"max_ms": -1}, "--max-ms -1"), ({"license": "free"}, "permissive")],
)
def test_limits_that_are_none(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Limits(**options)


# ------------------------------------------------------------------------------------- naming candidates


def test_candidates_are_names_folders_files_and_cuts(trio: Path, tmp_path: Path) -> None:
    a, b = f"local:{trio / 'a'}", f"local:{trio / 'b'}"
    assert ranking.named(f"{a}, {b},{a}") == [a, b]
    assert ranking.named(trio) == [f"local:{trio / n}" for n in "abc"]
    listed = tmp_path / "models.txt"
    listed.write_text(f"# ours\n{a}  # the small one\n\n{b}\n")
    assert ranking.named(str(listed)) == [a, b]
    (tmp_path / "models.json").write_text(json.dumps([b]))
    assert ranking.named(tmp_path / "models.json") == [b]
    cut = ranking.named(f"{a}:stages=*")
    assert cut[-1] == a and cut[:-1] == backbones.cuts(a) and len(cut) > 2


def test_what_leads_to_no_model_stays_and_is_a_line_of_the_ranking(trio: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    names = f"{tmp_path / 'empty'},local:/nowhere:stages=*,local:{trio / 'a'}"
    assert ranking.named(names) == [str(tmp_path / "empty"), "local:/nowhere", f"local:{trio / 'a'}"]
    found = graft.rank(photos, names)
    assert found.choice == f"local:{trio / 'a'}" and [bool(c.error) for c in found.candidates] == [False, True, True]


@pytest.mark.parametrize(
    ("content", "name"),
    [("{}", "m.json"), ("[1]", "m.json"), ("[", "m.json"), ("\n# none\n", "m.txt"), ('["m.json"]', "m.json")],
)
def test_files_that_are_no_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, name: str) -> None:
    (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DataError, UsageError), match="--candidates"):
        ranking.named(tmp_path / name)


def test_what_is_cached_is_a_candidate(monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    from graft import hub
    from graft.ranking import candidates
    from graft.voice import Voice

    here = ["timm/resnet18.a1_in1k", "someone/pictures", "some/encoder"]
    monkeypatch.setattr(hub, "cached_models", lambda: here)
    monkeypatch.setattr(hub, "cached", lambda repo, file, revision=None: Path(file) if "enc" in repo else None)
    monkeypatch.setattr(hub, "reachable", lambda: "no network")
    picture, _ = reading(photos)
    names, why = candidates.candidates_for(picture, [], Voice(quiet=True))
    assert names == ["timm:resnet18.a1_in1k"] and "no network" in why
    text, _ = reading(many(20))
    names, _ = candidates.candidates_for(text, [], Voice(quiet=True))
    assert "hf:some/encoder" in names and any(n.startswith("bundled:") for n in names)


# ------------------------------------------------------------------------------------------- distance


def test_the_source_is_near_itself_and_noise_is_far(trio: Path) -> None:
    backbone = backbones.load(f"local:{trio / 'a'}")
    draw = torch.Generator().manual_seed(0)
    own = torch.randn(64, 3, 32, 32, generator=draw)
    backbone.train()
    for p in (m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        p.reset_running_stats()
        p.momentum = None  # the plain mean over what it sees
    with torch.no_grad():
        backbone(own)
    near, far = (similarity.distance(backbone, x) for x in (own, 3 + 2 * own))
    assert near is not None and far is not None and near < 0.05 and far > 10 * near
    assert not backbone.training or similarity.distance(backbone, own) is not None
    text = backbones.load("bundled:all-MiniLM-L6-v2")
    assert similarity.distance(text, torch.zeros(1, 4, dtype=torch.long)) is None


# ------------------------------------------------------------------------------------------- explain


def test_an_explanation_has_classes_depths_and_dimensions(trio: Path, photos: Path) -> None:
    task, data = reading(photos)
    found = explain(task, data, f"local:{trio / 'a'}")
    assert {c.label for c in found.classes} == {"disc", "square"}
    assert sum(c.n for c in found.classes) == found.n
    for c in found.classes:
        assert 0 <= c.recall <= 1 and len(c.nearest) == 3 and c.nearest[0][0].startswith("source class")
        assert c.nearest[0][1] >= c.nearest[1][1] >= c.nearest[2][1]
    right = sum(c.recall * c.n for c in found.classes) / found.n
    assert right == pytest.approx(found.probe)
    assert len(found.depths) >= 2 and found.best_depth() in found.depths
    assert 1 <= found.dimension <= found.width
    assert json.loads(json.dumps(found.plain(), allow_nan=False))["sentence"] == found.sentence()


def test_the_dimension_is_the_participation_ratio() -> None:
    draw = torch.Generator().manual_seed(0)
    flat = torch.randn(4000, 8, generator=draw)
    assert dimension(flat) == pytest.approx(8, rel=0.02)
    one = torch.randn(50, 1, generator=draw) @ torch.randn(1, 300, generator=draw)
    assert dimension(one) == pytest.approx(1)
    values = np.linalg.eigvalsh(np.cov(flat[:20].numpy().T))
    assert dimension(flat[:20]) == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)
    assert dimension(torch.ones(10, 3)) == 0


def test_explain_speaks_to_people_and_takes_short_names(trio: Path, photos: Path) -> None:
    said = call("rank", photos, "--zoo", trio, "--explain", "b")
    assert said.code == 0, said.err
    for part in ("by depth", "by class", "dimensions", "prior: x", "nearest source classes"):
        assert part in said.out
    asked = call("rank", photos, "--zoo", trio, "--explain", f"local:{trio / 'b'}", "--json", "--quiet")
    assert json.loads(asked.out)["name"] == f"local:{trio / 'b'}"
    refused(call("rank", photos, "--zoo", trio, "--explain", "nobody"), 2, "nobody", "possible are")


def test_numbers_are_explained_by_depth_alone(encoders: list[str]) -> None:
    task, data = reading([(f"{t} {i}", float(i % 7)) for i, (t, _) in enumerate(many(80))], task="text_regression")
    found = explain(task, data, encoders[0])
    assert not found.classes and len(found.depths) >= 2
    assert "MAE" not in found.note and found.measure == "mae"


# ------------------------------------------------------------------------------------------- bad input


def test_no_candidate_is_refused(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graft import hub

    monkeypatch.setattr(hub, "reachable", lambda: "no network")
    monkeypatch.setattr(hub, "cached_models", list)
    monkeypatch.delenv("GRAFT_ZOO", raising=False)
    with pytest.raises(SetupError, match="no pretrained picture backbone"):
        graft.rank(photos)
    with pytest.raises(UsageError, match="name at least one"):
        graft.rank(photos, "")


def test_all_broken_is_an_answer(photos: Path, tmp_path: Path) -> None:
    cut = models.timm_folder(tmp_path / "cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-50])
    found = graft.rank(photos, [f"local:{tmp_path / 'cut'}", "local:/nowhere", "bundled:all-MiniLM-L6-v2"])
    assert found.choice is None and all(c.error for c in found.candidates)
    assert "takes a text" in str(found.candidates[2].error)
    said = call("rank", photos, "--candidates", f"local:{tmp_path / 'cut'}")
    assert said.code == 4 and "none of 1 candidates can be used" in said.err and "damaged" in said.out
    said = call("rank", photos, "--candidates", f"local:{tmp_path / 'cut'}", "--json")
    assert said.code == 4 and json.loads(said.out)["choice"] is None


def test_one_candidate_is_predicted_too(trio: Path, photos: Path) -> None:
    found = graft.rank(photos, f"local:{trio / 'a'}")
    assert found.choice == f"local:{trio / 'a'}" and found.candidates[0].predicted is not None
    assert found.sentence() == "local:a is the only candidate"


def few(samples: Sequence[tuple[str, str]], encoders: list[str]) -> Ranking:
    """Ranked on all of the samples, none held out."""
    task, _ = reading(list(many(60, classes=len({y for _, y in samples}))))
    made = [Sample(id=str(i), x=x, y=y) for i, (x, y) in enumerate(samples)]
    return ranking.rank(task, made, encoders)


def test_fewer_samples_than_classes_and_one_sample_a_class(encoders: list[str]) -> None:
    one_each = few(many(5, classes=5), encoders[:2])
    for c in one_each.candidates:
        assert c.error is None or "sample" in c.error
        for value in c.scores.values():
            assert value is None or math.isfinite(value)
    task, data = reading(many(60, classes=6))
    some = [s for s in data.train if s.y in ("class0", "class1", 0, 1)][:3]
    found = ranking.rank(task, some, encoders[:2])
    assert all(c.error or c.predicted is not None for c in found.candidates)


class Constant(torch.nn.Module):
    """Stands in for a network's last layer: the same whatever comes in, or not a number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, self.value)


@pytest.mark.parametrize(("value", "said"), [(1.0, None), (math.nan, "not finite")])
def test_constant_and_nan_features(
    trio: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, value: float, said: str | None
) -> None:
    real = backbones.load

    def load(name: str, schema: Any = None) -> Any:
        made = real(name, schema)
        if name.endswith("/b"):
            last = made.forward

            def forward(*args: Any) -> Any:
                from dataclasses import replace

                out = last(*args)
                return replace(out, pooled=torch.full_like(out.pooled, value))

            monkeypatch.setattr(made, "forward", forward)
        return made

    monkeypatch.setattr(backbones, "load", load)
    monkeypatch.setenv("GRAFT_CACHE", str(trio.parent / f"cache-{value}"))
    task, data = reading(photos)
    found = ranking.rank(task, data.train, [f"local:{trio / 'a'}", f"local:{trio / 'b'}"])
    bad = next(c for c in found.candidates if c.name.endswith("/b"))
    if said:
        assert said in str(bad.error) and found.choice == f"local:{trio / 'a'}"
    else:
        assert bad.error is None and bad.scores["logme"] is None and "constant" in bad.reasons["logme"]
        assert found.candidates[0].name.endswith("/a")


@pytest.mark.slow
def test_ten_thousand_classes(encoders: list[str]) -> None:
    rows = [
        (f"{w} {f} {i}", f"c{i % 10_000}")
        for i in range(50_000)
        for w, f in [(models.GOOD[i % 6], models.FILLER[i % 12])]
    ]
    task, data = reading(rows)
    assert len(data.labels) == 10_000
    found = ranking.rank(task, data.train, encoders[:2])
    assert found.choice and found.n <= race.MOST_CLASSES * 4
    assert all(c.probe is not None and c.predicted is not None for c in found.candidates)


def test_text_labels_where_numbers_are_asked_for(encoders: list[str], reviews: Path) -> None:
    with pytest.raises((DataError, UsageError), match="number"):
        graft.rank(reviews, encoders[:1], task="text_regression")


def test_a_source_head_of_another_size_than_its_card(trio: Path, photos: Path, tmp_path: Path) -> None:
    wrong = models.timm_folder(tmp_path / "wrong", num_classes=9)
    found = graft.rank(photos, [f"local:{wrong}", f"local:{trio / 'a'}"])
    assert found.choice == f"local:{trio / 'a'}" and "9" in str(found.candidates[-1].error)


def test_a_transformers_head_of_another_size_than_its_card(photos: Path, tmp_path: Path) -> None:
    folder = models.vision_folder(tmp_path / "mobilenet", "mobilenet_v1")
    config = json.loads((folder / "config.json").read_text())
    named = len(config["id2label"]) if "id2label" in config else 2
    config["id2label"] = {str(i): f"c{i}" for i in range(named + 3)}
    config["label2id"] = {f"c{i}": i for i in range(named + 3)}
    (folder / "config.json").write_text(json.dumps(config))
    found = graft.rank(photos, f"local:{folder}")
    assert found.choice is None and "id2label" in str(found.candidates[0].error)


def test_measures_that_knowing_nothing_cannot_be_judged_by_are_ranked_by_the_usual_one(encoders: list[str]) -> None:
    rows = [(f"{t} {i}", float(i % 7)) for i, (t, _) in enumerate(many(120))]
    task, data = reading(rows, task="text_regression", measure="spearman")
    found = ranking.rank(task, data.train, encoders[:2])
    assert found.measure == "mae" and found.choice and task.measures[0] == "spearman"
    assert found.candidates[0].probe is not None and found.candidates[0].probe > 0.2
    looked = explain(task, data, encoders[0])
    assert looked.measure == "spearman" and looked.constant is None and json.dumps(looked.plain(), allow_nan=False)


def test_explain_refuses_what_is_for_the_ranking(photos: Path, trio: Path) -> None:
    refused(call("rank", photos, "--explain", f"local:{trio / 'a'}", "--max-mb", "3"), 2, "--max-mb", "--explain")


def test_one_class_only_has_nothing_to_rank(encoders: list[str]) -> None:
    task, _ = reading(many(60))
    same = [Sample(id=str(i), x=x, y="class0") for i, (x, _) in enumerate(many(20))]
    with pytest.raises(DataError):
        ranking.rank(task, same, encoders[:1])
    with pytest.raises(DataError, match="no training sample"):
        ranking.rank(task, [], encoders[:1])
