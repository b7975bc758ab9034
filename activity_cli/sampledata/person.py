"""A person: the body, and how they look and dress."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from activity_cli.sampledata.canvas import Colour, colour
from activity_cli.sampledata.figure import Body

HairCut = Literal["short", "long", "bun", "bald"]
Bottom = Literal["trousers", "shorts", "skirt"]

_SKINS = ["f6d7c3", "eec1a2", "e0ac88", "c98d66", "a9704a", "8a5536", "6b4029", "50301f"]
_HAIRS = ["1d1a1a", "2f2320", "4a3122", "6e4a2c", "9a6b3a", "c9a063", "8f3f24", "9b9b9b"]
_BRIGHT = ["e63946", "f08a5d", "f2b134", "5fa777", "2a9d8f", "3d7ea6", "1d4e89", "d96c8a"]
_MUTED = ["6a4c93", "b5838d", "f1ece2", "343a40", "8ab6d6", "84a59d"]
_TOPS = [*_BRIGHT, *_MUTED]
_BOTTOMS = ["27374d", "1f2933", "4a5a6a", "5b4636", "8d7b68", "30475e", "6b705c", "b8a58b"]
_SHOES = ["f4f1ea", "22252a", "c0392b", "2d6a8f", "7a5237", "e9b44c"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clothes:
    """What somebody wears today."""

    top: Colour
    stripes: Colour | None
    """Colour of stripes across the top, if it has any."""
    long_sleeves: bool
    bottom: Bottom
    bottom_colour: Colour
    shoes: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Clothes":
        """Random clothes, whose top and stripes differ in colour."""
        top, stripe = rng.choice(_TOPS, 2, replace=False)
        striped = bool(rng.uniform() < 0.35)
        return cls(
            top=colour(top),
            stripes=colour(stripe) if striped else None,
            long_sleeves=bool(rng.uniform() < 0.55),
            bottom=rng.choice(get_args(Bottom), p=(0.62, 0.2, 0.18)),
            bottom_colour=colour(rng.choice(_BOTTOMS)),
            shoes=colour(rng.choice(_SHOES)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What stays the same about somebody from clip to clip."""

    body: Body
    skin: Colour
    hair: Colour
    hair_cut: HairCut

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Person":
        """A random person."""
        return cls(
            body=Body.draw(rng),
            skin=colour(rng.choice(_SKINS)),
            hair=colour(rng.choice(_HAIRS)),
            hair_cut=rng.choice(get_args(HairCut), p=(0.42, 0.28, 0.2, 0.1)),
        )
