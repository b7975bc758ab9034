"""One colour per label, the same in the terminal, in figures and in videos.

The colours of Okabe and Ito, which are distinguishable with any colour vision, without black and
with a darker yellow. All are readable on white and on near-black.
"""

from collections.abc import Collection, Iterable, Sequence

_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0072b2", "#d4c52a")
_ROUNDS = (0.0, 0.45, -0.35)  # later labels: the same, mixed with so much white, or with black
UNKNOWN_COLOUR = "#9ca3af"
"""Grey, for rejected clips."""

MOST_COLOURS = len(_COLOURS) * len(_ROUNDS)


def label_colours(
    labels: Iterable[str], *, muted: Collection[str] = ("unknown",)
) -> dict[str, str]:
    """Return a colour as #rrggbb for each label, in their order; colours repeat after 21 labels.

    Args:
        labels: all labels of the model, or where these are many, those that are shown.
        muted: labels that are grey.
    """
    colours: dict[str, str] = {}
    for label in dict.fromkeys(labels):
        index = sum(known not in muted for known in colours)
        colours[label] = UNKNOWN_COLOUR if label in muted else _nth_colour(index)
    return colours


def timeline_colours(labels: Sequence[str], found: Collection[str]) -> dict[str, str]:
    """Return colours for the labels of a model and of the segments of a video.

    Where there are more labels than colours, labels that do not occur in the video are grey.
    """
    others = [label for label in dict.fromkeys(found) if label not in labels]
    if len(labels) <= MOST_COLOURS:
        return label_colours((*labels, *others))
    shown = label_colours([*(label for label in labels if label in found), *others])
    return dict.fromkeys(labels, UNKNOWN_COLOUR) | shown


def text_colour_on(colour: str) -> str:
    """Return black or white, whichever has more contrast on a colour."""
    red, green, blue = rgb(colour)
    return "#111827" if 0.299 * red + 0.587 * green + 0.114 * blue > 135 else "#ffffff"


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of #rrggbb."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _nth_colour(index: int) -> str:
    share = _ROUNDS[index // len(_COLOURS) % len(_ROUNDS)]
    towards = 255 if share > 0 else 0
    mixed = (round(v + abs(share) * (towards - v)) for v in rgb(_COLOURS[index % len(_COLOURS)]))
    return "#{:02x}{:02x}{:02x}".format(*mixed)
