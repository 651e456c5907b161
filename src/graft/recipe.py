"""What a run is made of: recipe, stages and method specs, from short forms and TOML and back."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft.errors import UsageError, did_you_mean

FORMAT = 1
Scalar = str | int | float | bool
UNKNOWN = ("refuse", "drop")
"""What `unknown` may say."""
FRAMES = ("first", "all")
"""What `frames` may say."""
CUTS = ("head", "head_tail")
"""What `long_texts` may say: keep the first tokens, or the first and last (Sun et al. 2019, section 5.3.1)."""


def note(help: str) -> dict[str, str]:
    """Metadata of a field that a user may change; `graft fit --help` and the docs print it."""
    return {"help": help}


def parse_scalar(text: str) -> Scalar:
    """Read `8`, `1e-3`, `true` or a word."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


@dataclass(frozen=True)
class Spec:
    """A method and its options: `lora:rank=8,alpha=2`."""

    name: str
    options: Mapping[str, Scalar] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> Spec:
        """Read the short form; raises UsageError that shows the form."""
        name, _, rest = text.strip().partition(":")
        options: dict[str, Scalar] = {}
        for part in filter(None, (p.strip() for p in rest.split(","))):
            key, eq, value = (s.strip() for s in part.partition("="))
            if not eq or not key or not value:
                raise UsageError(f"{text!r}: write options as name:key=value,key=value")
            if key in options:
                raise UsageError(f"{text!r}: {key!r} is given twice")
            options[key] = parse_scalar(value)
        if not re.fullmatch(r"[A-Za-z_][\w-]*", name.strip()):
            raise UsageError(f"{text!r} is no method: write name or name:key=value; `graft list methods` shows them")
        return Spec(name.strip(), options)

    def __str__(self) -> str:
        given = ",".join(f"{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in self.options.items())
        return f"{self.name}:{given}" if given else self.name


@dataclass(frozen=True)
class Stage:
    """One stretch of training: a tuning method, any others, and the numbers of its loop.

    A number that is None is chosen from the data and the backbone, and written into the run's recipe.
    """

    methods: tuple[str, ...]
    epochs: float | None = field(default=None, metadata=note("passes over the training part; may be a fraction"))
    lr: float | None = field(default=None, metadata=note("peak learning rate"))
    batch: int | None = field(default=None, metadata=note("samples a step, over all processes"))
    view: str = field(default="weak", metadata=note("how training samples are varied: none, weak, strong"))
    weight_decay: float = field(default=0.01, metadata=note("decoupled decay of weights, not of biases and norms"))
    warmup: float = field(default=0.1, metadata=note("share of the steps in which the rate rises"))
    schedule: str = field(default="cosine", metadata=note("after the warm-up: cosine, linear or constant"))
    clip: float = field(default=1.0, metadata=note("largest norm of the gradient; 0 leaves it alone"))
    patience: int = field(default=3, metadata=note("validations without a gain after which the stage ends; 0: never"))
    limit: int = field(default=0, metadata=note("training samples to look at, by label; 0: all"))
    stop: int = field(default=0, metadata=note("end after this many steps, schedule unchanged; 0: at the end"))

    def specs(self) -> tuple[Spec, ...]:
        """The methods as parsed specs."""
        return tuple(Spec.parse(m) for m in self.methods)


STARTS = ("pretrained", "random")
"""What a rung may start from: the backbone's own weights, or the same network with random ones (a control)."""
EVIDENCE = ("off", "quick", "full")
"""What `evidence` may say."""


@dataclass(frozen=True)
class Rung:
    """A named list of stages: one way of carrying the knowledge over, or a control without any (`start` random)."""

    name: str
    stages: tuple[Stage, ...]
    start: str = "pretrained"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's numbers, written out as `recipe.toml`."""

    data: str = ""
    task: str = field(default="auto", metadata=note("kind of task; `graft list tasks`"))
    backbone: str = field(default="auto", metadata=note("pretrained model as SOURCE:NAME"))
    rungs: tuple[Rung, ...] = ()
    controls: tuple[Rung, ...] = ()
    evidence: str = field(
        default="quick",
        metadata=note("controls: off, quick (from scratch for a fifth of the rungs' time), full (to its end)"),
    )
    precision: str = field(
        default="auto",
        metadata=note("of frozen passes: fp32, bf16, either with contiguous behind it, or auto, which measures"),
    )
    seed: int = field(default=0, metadata=note("every random draw comes from it"))
    device: str = field(default="auto", metadata=note("cpu, cuda, mps, or auto"))
    measure: str = field(default="", metadata=note("what decides, as macro_f1 or sensitivity:specificity=0.95"))
    calibrate: bool = field(default=True, metadata=note("fit a temperature of probabilities on validation"))
    text: str = field(default="", metadata=note("column of the texts, where guessing is not wanted"))
    image: str = field(default="", metadata=note("column of the pictures' paths"))
    label: str = field(default="", metadata=note("column of the labels; several, joined by commas, are one label each"))
    group: str = field(default="", metadata=note("column whose equal values never stand on two sides of a split"))
    domain: str = field(default="", metadata=note("column that says which world a sample comes from"))
    time: str = field(default="", metadata=note("column of times: the latest samples are the test part"))
    split: str = field(default="", metadata=note("column that names the part: train, valid or test"))
    max_bad: float = field(default=0.01, metadata=note("share of unreadable items above which a run is refused"))
    unknown: str = field(default="refuse", metadata=note("labels that train has not: refuse, or drop the samples"))
    drop_unlabelled: bool = field(default=False, metadata=note("leave rows without a label out"))
    long_texts: str = field(default="head", metadata=note("of a text with too many tokens: head, or head_tail"))
    frames: str = field(default="first", metadata=note("of a picture of several pages: first, or all, each a sample"))
    keep: str = field(default="", metadata=note("data of an earlier task, on which the drop is measured"))
    strict: bool = field(default=False, metadata=note("refuse data in which the doctor finds anything"))
    max_drop: float = field(
        default=0.05, metadata=note("drop on these, in their measure, above which a run is flagged")
    )
    plugins: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of a recipe with one rung."""
        return self.rungs[0].stages if len(self.rungs) == 1 else ()


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read `probe > finetune:depth=2 + mixup:alpha=0.2`: stages by `>`, methods by `+`."""
    stages = []
    for part in text.split(">"):
        specs = [Spec.parse(m) for m in part.split("+")]
        stages.append(Stage(tuple(str(s) for s in specs)))
    return tuple(stages)


def short_form(stages: Iterable[Stage]) -> str:
    """The inverse of `parse_stages`, without the stages' numbers."""
    return " > ".join(" + ".join(s.methods) for s in stages)


# ------------------------------------------------------------------------------------------ TOML


def load_toml(path: Path) -> Recipe:
    """Read a recipe file; raises UsageError on unknown keys, wrong types or a newer format."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise UsageError(f"{path}: not a readable recipe ({e})") from e
    if not isinstance(version := raw.pop("format", FORMAT), int):
        raise UsageError(f"{path}: format = {version!r}: a number is expected")
    if version > FORMAT:
        raise UsageError(f"{path}: written by a newer graft (format above {FORMAT}); upgrade with pip")
    if "stages" in raw:
        if "rungs" in raw:
            raise UsageError(f"{path}: give [[stages]] or [[rungs]], not both")
        raw["rungs"] = [{"name": "recipe", "stages": raw.pop("stages")}]
    rungs, controls = (_rungs(raw.pop(key, []), f"{path}: [[{key}]]") for key in ("rungs", "controls"))
    built: Recipe = _build(Recipe, raw, str(path))
    return dataclasses.replace(built, rungs=rungs, controls=controls)


def _rungs(raw: Any, where: str) -> tuple[Rung, ...]:
    _check_tables(raw, where)
    return tuple(rung_from(r, where) for r in raw)


def rung_from(raw: Mapping[str, Any], where: str = "rung") -> Rung:
    """Build a rung from plain values; raises UsageError for what it cannot be."""
    stages = raw.get("stages", [])
    _check_tables(stages, f"{where}: [[stages]]")
    start = raw.get("start", "pretrained")
    if start not in STARTS:
        raise UsageError(f"{where}: start = {start!r}: possible are {', '.join(STARTS)}")
    built = tuple(_build(Stage, s, f"{where}: stage") for s in stages)
    return Rung(str(raw.get("name", "recipe")), built, start)


def plain_rung(rung: Rung) -> dict[str, Any]:
    """A rung as plain values, the inverse of `rung_from`."""
    return {"name": rung.name, "start": rung.start, "stages": [plain_stage(s) for s in rung.stages]}


def _check_tables(value: Any, where: str) -> None:
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise UsageError(f"{where}: tables are expected, as [[stages]] with methods = [...]")


def dump_toml(recipe: Recipe) -> str:
    """Write a recipe with every default written out; None fields stay out."""
    import tomli_w

    apart = ("rungs", "controls")
    flat = {k: v for k, v in dataclasses.asdict(recipe).items() if k not in apart and v is not None}
    lists = {"rungs": [plain_rung(r) for r in recipe.rungs], "controls": [plain_rung(r) for r in recipe.controls]}
    return tomli_w.dumps({"format": FORMAT, **flat, **lists})


def plain_stage(stage: Stage) -> dict[str, Any]:
    """A stage as plain values, the inverse of `stage_from`."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(stage).items() if v is not None}


def stage_from(raw: Mapping[str, Any]) -> Stage:
    """Build a stage from plain values, as `recipe.toml` or a decision holds them."""
    built: Stage = _build(Stage, raw, "stage")
    return built


def _build(kind: type[Any], raw: Mapping[str, Any], where: str) -> Any:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values = {}
    for key, value in raw.items():
        if key not in fields:
            raise UsageError(f"{where}: unknown key {key!r}.{did_you_mean(key, fields)}")
        written = fields[key].type  # a class where the file has no `from __future__ import annotations`
        annotation = written.__name__ if isinstance(written, type) else str(written)
        values[key] = coerce(annotation, value, f"{where}: {key}")
    try:
        return kind(**values)
    except TypeError as e:
        raise UsageError(f"{where}: {e}") from e


# ------------------------------------------------------------------------------- values and overrides


def coerce(annotation: str, value: Any, where: str) -> Any:
    """Check a value against a field's annotation; a string is never taken for a number.

    Raises UsageError naming the field, the value and what is expected.
    """
    if annotation.startswith("tuple"):
        if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
            raise UsageError(f"{where} = {value!r}: a list of texts is expected")
        return tuple(value)
    wanted = {w.strip() for w in annotation.split("|")}
    if value is None and "None" in wanted:
        return None
    if isinstance(value, bool):
        if "bool" in wanted:
            return value
    elif isinstance(value, int) and "int" in wanted:
        return value
    elif isinstance(value, int | float) and "float" in wanted:
        if value != value or value in (float("inf"), float("-inf")):
            raise UsageError(f"{where} = {value!r}: a finite number is expected")
        return float(value)
    elif isinstance(value, str) and "str" in wanted:
        return value
    expected = " or ".join(sorted(wanted - {"None"}))
    raise UsageError(f"{where} = {value!r}: {expected} is expected")


def build_options(kind: type[Any], options: Mapping[str, Any], where: str) -> Any:
    """Build a dataclass (a method, say) from options; unknown names and wrong types raise UsageError."""
    if not dataclasses.is_dataclass(kind):
        if options:
            raise UsageError(f"{where} has no options; {next(iter(options))!r} was given")
        return kind()
    return _build(kind, options, where)


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Apply `--set stage.0.lr=1e-3`, `stage.1.finetune.depth=2`, `seed=3` or `max_bad=0.05`.

    `stage.N` means stage N of every rung that has one. Raises UsageError for keys that match nothing.
    """
    for setting in settings:
        key, eq, value = setting.partition("=")
        if not eq:
            raise UsageError(f"--set {setting!r}: write KEY=VALUE, for instance stage.0.lr=1e-3")
        parts, scalar = key.strip().split("."), parse_scalar(value.strip())
        if parts[0] in ("stage", "stages"):
            recipe = _override_stage(recipe, parts[1:], scalar, setting)
        else:
            names = {f.name: str(f.type) for f in dataclasses.fields(Recipe) if f.metadata}
            if key not in names:
                raise UsageError(f"--set {setting!r}: unknown key.{did_you_mean(key, [*names, 'stage.0.lr'])}")
            recipe = dataclasses.replace(recipe, **{key: coerce(names[key], scalar, f"--set {key}")})
    return recipe


def _override_stage(recipe: Recipe, parts: list[str], value: Scalar, setting: str) -> Recipe:
    if len(parts) not in (2, 3) or not parts[0].isdigit():
        raise UsageError(f"--set {setting!r}: write stage.N.FIELD=VALUE or stage.N.METHOD.OPTION=VALUE")
    index, hit, rungs = int(parts[0]), False, []
    for rung in recipe.rungs:
        stages = list(rung.stages)
        if index < len(stages):
            changed = _change(stages[index], parts[1:], value, setting)
            hit = hit or changed is not None
            stages[index] = changed or stages[index]
        rungs.append(Rung(rung.name, tuple(stages)))
    if not hit:
        longest = max((len(r.stages) for r in recipe.rungs), default=0)
        raise UsageError(f"--set {setting!r}: matches no stage; stages are 0 to {longest - 1}, counted from 0")
    return dataclasses.replace(recipe, rungs=tuple(rungs))


def _change(stage: Stage, parts: list[str], value: Scalar, setting: str) -> Stage | None:
    if len(parts) == 1:
        types = {f.name: str(f.type) for f in dataclasses.fields(Stage) if f.metadata}
        if parts[0] not in types:
            raise UsageError(f"--set {setting!r}: a stage has no {parts[0]!r}.{did_you_mean(parts[0], types)}")
        return dataclasses.replace(stage, **{parts[0]: coerce(types[parts[0]], value, f"--set {setting}")})
    specs = [Spec.parse(m) for m in stage.methods]
    if parts[0] not in {s.name for s in specs}:
        return None
    new = [Spec(s.name, {**s.options, parts[1]: value}) if s.name == parts[0] else s for s in specs]
    return dataclasses.replace(stage, methods=tuple(str(s) for s in new))


def check_stage(stage: Stage) -> None:
    """Refuse numbers that cannot be meant; raises UsageError."""
    limits = {"epochs": stage.epochs, "lr": stage.lr, "batch": stage.batch}
    for name, value in limits.items():
        if value is not None and value <= 0:
            raise UsageError(f"stage {name} = {value}: a number above 0 is expected")
    if not 0 <= stage.warmup <= 1:
        raise UsageError(f"stage warmup = {stage.warmup}: a share between 0 and 1 is expected")
    if stage.schedule not in ("cosine", "linear", "constant"):
        raise UsageError(f"stage schedule = {stage.schedule!r}: possible are cosine, linear, constant")
    if min(stage.weight_decay, stage.clip, stage.limit, stage.stop, stage.patience) < 0:
        raise UsageError("stage weight_decay, clip, limit, stop and patience are 0 or more")


def parse_budget(text: str | float | None) -> float | None:
    """Read `5m`, `150s`, `1h`, `90` (seconds) into seconds; raises UsageError."""
    if text is None or isinstance(text, int | float):
        seconds = text
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|h|min|sec)?\s*", text)
        if not match:
            raise UsageError(f"--budget {text!r}: write a time as 150s, 5m or 1h")
        seconds = float(match[1]) * {"m": 60, "min": 60, "h": 3600}.get(match[2] or "s", 1)
    if seconds is not None and not 0 < seconds < 10_000_000:
        raise UsageError(f"--budget {text!r}: a time above zero is expected, as 150s, 5m or 1h")
    return None if seconds is None else float(seconds)
