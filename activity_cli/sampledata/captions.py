"""Sentences about a drawn clip: who, in which clothes, does what, where and how fast."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from activity_cli.sampledata.actions import Style
from activity_cli.sampledata.people import Clothes, Person
from activity_cli.sampledata.rendering import Colour, colour_of


class Verb(NamedTuple):
    """An action in words."""

    present: str
    gerund: str
    repeats: bool = True  # whether its speed is a tempo, not a duration


VERBS: Mapping[str, Verb] = {
    "walk": Verb("walks", "walking"),
    "run": Verb("runs", "running"),
    "jump": Verb("jumps up and down", "jumping up and down"),
    "wave": Verb("waves a hand", "waving a hand"),
    "squat": Verb("does squats", "doing squats"),
    "punch": Verb("punches the air", "punching the air"),
    "sit_down": Verb("sits down on a chair", "sitting down on a chair", repeats=False),
    "stand_up": Verb("stands up from a chair", "standing up from a chair", repeats=False),
    "pick_up": Verb("picks up a box", "picking up a box", repeats=False),
    "put_down": Verb("puts down a box", "putting down a box", repeats=False),
}
"""Words of each of `ACTIONS`."""

_TOPS = {
    **{"red": "e63946", "orange": "f08a5d", "yellow": "f2b134", "green": "5fa777 2a9d8f"},
    **{"blue": "3d7ea6 1d4e89 8ab6d6", "pink": "d96c8a b5838d", "purple": "6a4c93"},
    **{"white": "f1ece2", "black": "343a40"},
}
_BOTTOMS = {
    **{"blue": "27374d 30475e", "black": "1f2933", "grey": "4a5a6a 6b705c"},
    **{"brown": "5b4636", "beige": "8d7b68 b8a58b"},
}
_HAIRS = {
    **{"dark": "1d1a1a 2f2320", "brown": "4a3122 6e4a2c 9a6b3a", "fair": "c9a063"},
    **{"red": "8f3f24", "grey": "9b9b9b"},
}
_FLOORS = {
    "on the grass": "7fa653 6d9a4c a3a860",
    "on a wooden floor": "b08a5e 8f6a45 c9a57a 6f5138 9a8672",
    "on a stone floor": "a6998a 6b7280 b9b2a6 5f7f8c",
}
_TEMPO = (0.95, 1.1)  # of a repeated movement: slower is "slowly", faster "quickly"
_SECONDS = (1.9, 1.35)  # of a movement that happens once: longer is "slowly", shorter "quickly"

_FIRST = (
    "{who} in {clothes} {present}{pace} {place}.",
    "{who} wearing {clothes} is {gerund}{pace} {place}.",
    "{who}, dressed in {clothes}, {present}{pace} {place}.",
)
_SECOND = (
    "{Place}, somebody in {top} is {gerund}{pace}.",
    "{Place} a person in {top} {present}{pace}.",
    "There is somebody in {top} who is {gerund}{pace} {place}.",
)


def describe_clip(
    label: str,
    *,
    person: Person,
    clothes: Clothes,
    floor: Colour,
    style: Style,
    rng: np.random.Generator,
) -> tuple[str, str]:
    """Return two sentences, of which only the first states hair and trousers."""
    verb = VERBS[label]
    top = f"{_article(_name(_TOPS, clothes.top))} shirt"
    bottom = f"{_name(_BOTTOMS, clothes.trousers)} {'shorts' if clothes.shorts else 'trousers'}"
    hair = f"{'long' if person.long_hair else 'short'} {_name(_HAIRS, person.hair)} hair"
    place = _name(_FLOORS, floor)
    words = {
        **{"who": f"A person with {hair}", "clothes": f"{top} and {bottom}", "top": top},
        **{"present": verb.present, "gerund": verb.gerund, "pace": _pace(verb, style)},
        **{"place": place, "Place": place[0].upper() + place[1:]},
    }
    first, second = (str(rng.choice(templates)) for templates in (_FIRST, _SECOND))
    return first.format(**words), second.format(**words)


def _pace(verb: Verb, style: Style) -> str:
    """Return how fast the person moves, with a space in front; empty at the usual pace."""
    if verb.repeats:
        slow, fast = style.tempo < _TEMPO[0], style.tempo > _TEMPO[1]
    else:
        seconds = style.seconds * (1 - style.lead - style.tail)
        slow, fast = seconds > _SECONDS[0], seconds < _SECONDS[1]
    return " slowly" if slow else " quickly" if fast else ""


def _name(palettes: Mapping[str, str], colour: Colour) -> str:
    """Return the name of a colour of a palette."""
    return next(n for n, digits in palettes.items() if colour in map(colour_of, digits.split()))


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
