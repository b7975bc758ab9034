"""The frames that each word of a sentence attended to: terminal, JSON and a picture.

L is words, T frames.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.common.files import write_json
from activity_cli.features.extraction import ClipRequest
from activity_cli.report.figures import new_figure, save_figure
from activity_cli.report.terminal import SCORE_STYLE, clock, new_table, printable
from activity_cli.types import Caption

_SHADES = " ░▒▓█"


def attention_values(
    request: ClipRequest, caption: Caption, seconds: NDArray[np.float64]
) -> dict[str, Any]:
    """Return plain values: the words with their probabilities and attention to the frames."""
    words = zip(caption.words, caption.probabilities, caption.attention.tolist(), strict=True)
    return {
        "path": str(request.path),
        "caption": caption.text,
        "seconds": [round(float(one), 3) for one in seconds],
        "words": [
            {
                "word": word,
                "probability": round(probability, 6),
                "attention": [round(weight, 6) for weight in weights],
            }
            for word, probability, weights in words
        ],
    }


def show_attention(values: Mapping[str, Any]) -> RenderableType:
    """Show a row per word: its probability, its attention over time, and where that is highest."""
    seconds = values["seconds"]
    table = new_table("word", "probability", "attention over time", "highest at")
    table.columns[1].justify = "right"
    for row in values["words"]:
        weights = np.array(row["attention"])
        shade = (weights / weights.max() * (len(_SHADES) - 1)).round().astype(int)
        bar = "".join(_SHADES[index] for index in shade)
        at = clock(seconds[int(weights.argmax())])
        table.add_row(row["word"], f"{row['probability']:.1%}", Text(bar, SCORE_STYLE), at)
    spread = np.std([row["attention"] for row in values["words"]], axis=0).max()
    lines: list[RenderableType] = [
        Text(printable(values["path"]), "bold"),
        Text(f"  {values['caption']}"),
        Text(),
        table,
        Text(f"{len(seconds)} frames from {clock(seconds[0])} to {clock(seconds[-1])}.", "dim"),
    ]
    if spread < 0.5 / len(seconds):
        note = "All words attend to much the same frames: the word detectors decide, not the order."
        lines.append(Text(note, "yellow"))
    return Group(*lines)


def write_attention(folder: Path, values: Mapping[str, Any], request: ClipRequest) -> None:
    """Write explanation.json and explanation.png: words by frames, with the frames above."""
    from activity_cli.report.overlay.thumbnails import read_jpegs

    write_json(folder / "explanation.json", values)
    weights = np.array([row["attention"] for row in values["words"]])  # (L, T)
    times = values["seconds"]
    shown = range(0, len(times), max(1, len(times) // 8))
    files, _ = read_jpegs(request.path, [times[n] for n in shown], height=120)
    figure = new_figure(9, 1.8 + 0.3 * len(weights))
    grid = figure.add_gridspec(2, 1, height_ratios=[1.5, 0.3 * len(weights)])
    strip = grid[0].subgridspec(1, len(shown), wspace=0.04)
    for place, file in enumerate(files):
        axes = figure.add_subplot(strip[place])
        axes.imshow(_decoded(file))
        axes.set_title(clock(times[shown[place]]), fontsize=8)
        axes.axis("off")
    axes = figure.add_subplot(grid[1])
    axes.imshow(weights, aspect="auto", cmap="Blues", vmin=0)
    axes.set_yticks(range(len(weights)), [row["word"] for row in values["words"]])
    axes.set_xticks(list(shown), [clock(times[n]) for n in shown])
    axes.set_xlabel("time of the frame; darker: more attention")
    save_figure(figure, folder / "explanation.png")


def _decoded(file: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    picture = cv2.imdecode(file, cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
