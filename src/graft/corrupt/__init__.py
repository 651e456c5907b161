"""Corruptions of pictures and texts at five strengths, each a pure function of the sample, the strength and a seed.

Pictures: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", section 3. A picture is first scaled to the pixels that the model looks at (its shorter side to what the
model's own resize makes of it, about 1.15 times the input), and widths of blur are those of an input of 224 pixels in
proportion: so a picture of 12 megapixels is corrupted as a small one is, and the resize itself changes nothing more.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from graft._picturefile import Altered
from graft.corrupt import _pictures, _texts
from graft.data import Sample, digest
from graft.errors import UsageError, did_you_mean, some
from graft.loading import preprocess_of
from graft.model import Backbone
from graft.seeds import rng

STRENGTHS = (1, 2, 3, 4, 5)
VERSION = 1  # of the functions: part of a corrupted sample's digest, and so of cached features
_SIDE = 224  # pixels that the widths of blur are said for


@dataclass(frozen=True)
class Corruption:
    """A row of the table below: its name, what it takes (picture or text), and the function.

    `usual` ones are measured where nobody names any.
    """

    name: str
    modality: str
    function: _pictures.Function | _texts.Function
    usual: bool = False


@dataclass(frozen=True)
class Sight:
    """The pixels a picture backbone looks at: its input's side, and the shorter side before the middle is cut."""

    size: int
    shorter: int
    interpolation: str = "bicubic"


def sight_of(backbone: Backbone) -> Sight | None:
    """What a backbone sees of a picture; None where it takes no pictures."""
    if backbone.modality != "picture":
        return None
    known = preprocess_of(backbone)
    if known is not None:
        return Sight(known.size, known.shorter(), known.interpolation)
    size = backbone.card.size or _SIDE
    return Sight(size, math.ceil(1.15 * size))


def names(modality: str, usual: bool = False) -> tuple[str, ...]:
    """Names of the corruptions of pictures or of texts, in the table's order."""
    return tuple(c.name for c in TABLE if c.modality == modality and (c.usual or not usual))


def chosen(asked: bool | str | Sequence[str], modality: str) -> tuple[str, ...]:
    """What is asked for: True for the usual ones, "all", or names (a list, or a text with commas).

    Raises UsageError for a name that is not known, and for one that does not fit `modality`.
    """
    possible = names(modality)
    if not possible:
        raise UsageError(f"there are no corruptions of a {modality}; pictures and texts have some")
    if asked is True:
        return names(modality, usual=True)
    listed = asked.split(",") if isinstance(asked, str) else list(asked or ())
    wanted = [word.strip().lower().replace("-", "_") for word in listed if word.strip()]
    if "all" in wanted:
        return possible
    for word in wanted:
        if word in possible:
            continue
        other = next((c.modality for c in TABLE if c.name == word), "")
        if other:
            raise UsageError(f"corruption {word!r} is for a {other}; for a {modality} there are {some(possible, 20)}")
        raise UsageError(f"there is no corruption {word!r}.{did_you_mean(word, (*possible, 'all'))}")
    if not wanted:
        raise UsageError(f"no corruption is named: possible are all, {some(possible, 20)}")
    return tuple(dict.fromkeys(wanted))


def apply(name: str, x: Any, strength: int, draw: np.random.Generator, size: int = _SIDE) -> Any:
    """A text, or an opened picture, under a corruption; pure in its arguments.

    A picture is taken as it is, with `size` the input's side in pixels, which widths of blur go by; it keeps its kind,
    mode, size and type. Raises UsageError for an unknown name or strength, DataError for what is no picture.
    """
    row = next((c for c in TABLE if c.name == name), None)
    if row is None:
        raise UsageError(f"there is no corruption {name!r}.{did_you_mean(name, [c.name for c in TABLE])}")
    if strength not in STRENGTHS:
        raise UsageError(f"strength {strength}: possible are {', '.join(map(str, STRENGTHS))}")
    if row.modality == "text":
        text: Any = row.function
        return text(x, strength, draw, 1.0)
    function: Any = row.function
    return _pictures.changed(x, function, strength, draw, size / _SIDE)


def samples(given: Sequence[Sample], name: str, strength: int, seed: int, sight: Sight | None = None) -> list[Sample]:
    """The samples with x corrupted: texts at once, pictures each time they are opened, so that none is held.

    The draw follows from the seed, the corruption's name and the sample's content (its id where that has no digest)
    alone: another batch or order changes nothing, and the strengths of one corruption share it. Each has a digest of
    its own. `sight` is needed for pictures: `sight_of(backbone)`.
    """
    return [_corrupted(s, name, strength, seed, sight) for s in given]


def _corrupted(s: Sample, name: str, strength: int, seed: int, sight: Sight | None) -> Sample:
    known = s.digest or s.id
    mark = digest(f"{known}\0{name}\0{strength}\0{seed}\0{VERSION}\0{sight}")
    key = ("corrupt", seed, name, known)
    if isinstance(s.x, str):
        return replace(s, x=apply(name, s.x, strength, rng(*key)), digest=mark)
    if sight is None:
        raise UsageError(f"{s.id}: to corrupt a picture, say what the model sees of it: sight_of(backbone)")
    change = partial(_seen, name=name, strength=strength, key=key, sight=sight)
    return replace(s, x=Altered(s.x, change, sight.shorter), digest=mark)


def _seen(picture: Any, *, name: str, strength: int, key: tuple[object, ...], sight: Sight) -> Any:
    """A picture at the model's own pixels, corrupted."""
    small = _pictures.scaled(picture, sight.shorter, sight.interpolation)
    return apply(name, small, strength, rng(*key), sight.size)


TABLE = (
    Corruption("noise", "picture", _pictures.noise, usual=True),
    Corruption("shot_noise", "picture", _pictures.shot_noise),
    Corruption("blur", "picture", _pictures.blur, usual=True),
    Corruption("defocus", "picture", _pictures.defocus),
    Corruption("motion_blur", "picture", _pictures.motion_blur),
    Corruption("jpeg", "picture", _pictures.jpeg, usual=True),
    Corruption("contrast", "picture", _pictures.contrast, usual=True),
    Corruption("brightness", "picture", _pictures.brightness),
    Corruption("typos", "text", _texts.typos, usual=True),
    Corruption("case", "text", _texts.case, usual=True),
    Corruption("spaces", "text", _texts.spaces),
    Corruption("punctuation", "text", _texts.punctuation),
)
