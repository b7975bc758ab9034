"""Figures with matplotlib and OpenCV. Here: training curves, confusion matrix, tuning, colours."""

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from activity_cli.common.files import writing
from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import WorkerCrashError
from activity_cli.model.metrics import Evaluation
from activity_cli.types import UNKNOWN

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, float]]
"""The fields of `EpochMetrics` by name, for each epoch."""
Draw = Callable[..., "Future[Any]"]
"""Calls a function that draws, with its arguments; the result may come later."""

_BLUE, _ORANGE, _GREY = "#0072b2", "#c24e00", "#5a6675"
RIGHT, WRONG = "#00845f", "#c24e00"
"""Correct and wrong clips, as in report.html: colours of Okabe and Ito, darker."""
DPI = 150
_MAX_LABELS_WITH_COUNTS = 25  # beyond this the numbers are too small to read


def draw_here(function: Callable[..., Any], *args: Any, **options: Any) -> "Future[Any]":
    """Draw at once, in this process."""
    picture: Future[Any] = Future()
    picture.set_result(function(*args, **options))
    return picture


class DrawingProcess(AbstractContextManager["DrawingProcess"]):
    """Draws in a second process, while this one does other things. A context manager.

    Leaving it waits for all pictures, and raises what drawing them raised; after an error it does
    not wait. Functions and arguments are pickled: they must not need torch.
    """

    def __init__(self) -> None:
        self._pool = WorkerPool(1, start=False)
        self._thread = ThreadPoolExecutor(1)
        self._pictures: list[Future[Any]] = []

    def draw(self, function: Callable[..., Any], *args: Any, **options: Any) -> "Future[Any]":
        """Let the process draw. The first picture starts it."""
        self._pictures.append(self._thread.submit(self._call, function, *args, **options))
        return self._pictures[-1]

    def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            return self._pool.call(function, *args, **options)
        except WorkerCrashError:  # such as a process that there is no memory for
            return function(*args, **options)

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            for picture in self._pictures if kind is None else ():
                picture.result()
        finally:
            self._pool.close()
            self._thread.shutdown()


def import_matplotlib() -> None:
    """Import what the pictures of a training need."""
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401


def plot_curves(
    history: History, best_epoch: int, path: Path, *, majority: float | None = None
) -> None:
    """Plot loss and accuracy per epoch, for training and held-out clips.

    The axis of the accuracy starts at the `majority` rate: that of always the same answer. None is
    for captions, whose accuracy is that of words.
    """
    figure = new_figure(9, 3.6)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    epochs = [epoch["epoch"] for epoch in history]
    for axes, what in ((loss_axes, "loss"), (accuracy_axes, "accuracy")):
        for part, name, colour in (
            ("train", "training clips", _BLUE),
            ("val", "held-out clips", _ORANGE),
        ):
            values = [epoch[f"{part}_{what}"] for epoch in history]
            axes.plot(epochs, values, color=colour, linewidth=1.8, label=name)
        best = f"best: epoch {best_epoch}"
        axes.axvline(best_epoch, color=_GREY, linewidth=1, linestyle=":", label=best)
        axes.set(xlabel="epoch", title=what.capitalize())
        tidy(axes)
    lowest = min(min(e["train_accuracy"], e["val_accuracy"]) for e in history)
    if majority is not None:
        lowest = min(majority, lowest)
        accuracy_axes.axhline(majority, color=_GREY, linewidth=1, dashes=(4, 4))
        accuracy_axes.text(0, majority, " majority label", color=_GREY, va="bottom")
    accuracy_axes.set_ylim(max(0, lowest - 0.03), 1.01)
    accuracy_axes.yaxis.set_major_formatter("{x:.0%}")
    loss_axes.set_ylim(bottom=0)
    loss_axes.legend(frameon=False)
    save_figure(figure, path)


def plot_confusion(evaluation: Evaluation, path: Path, *, title: str) -> None:
    """Plot the confusion matrix: shade by share of the true label, numbers are clips.

    Colours are those of report.html: correct clips and errors differ.
    """
    labels, counts = evaluation.labels, evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(3.6, 1.6 + 0.5 * len(labels))
    figure = new_figure(side, side)
    axes = figure.subplots()
    own = np.eye(len(labels))[:, :, None]
    inks = own * rgb(RIGHT) + (1 - own) * rgb(WRONG)
    strength = np.where(counts > 0, 0.14 + 0.76 * shares, 0.03)[:, :, None]
    axes.imshow((strength * inks + (1 - strength) * 255) / 255)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(labels) <= _MAX_LABELS_WITH_COUNTS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.55 else "#1f2937"
                axes.text(column, row, str(count), ha="center", va="center", color=colour)
    save_figure(figure, path)


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches."""
    # Without pyplot no window system is needed, and no figure stays in memory.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: "Axes") -> None:
    """Remove the frame and draw a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG or SVG, without its empty margins, or raise OutputError."""
    kind = path.suffix.lower().removeprefix(".")
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format=kind, bbox_inches="tight")


def plot_tuning(study: "optuna.Study", importance: Mapping[str, float], folder: Path) -> None:
    """Write history.png, settings.png and, unless importance is empty, importance.png."""
    import matplotlib as mpl
    from matplotlib import pyplot

    with warnings.catch_warnings(), mpl.rc_context():  # Optuna's plots change the style
        warnings.simplefilter("ignore")  # Optuna marks its plots as experimental
        from optuna.visualization import matplotlib as plots

        pyplot.switch_backend("agg")  # needs no window system
        found: dict[str, Any] = {
            "history": plots.plot_optimization_history(study, target_name="log-loss"),
            "settings": plots.plot_slice(study, target_name="log-loss"),
        }
        if importance:
            found["importance"] = plots.plot_param_importances(study)
        for name, axes in found.items():
            save_figure(np.ravel(axes)[0].figure, folder / f"{name}.png")
        pyplot.close("all")


_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0072b2", "#d4c52a")
"""Of labels, by Okabe and Ito: distinguishable with any colour vision, on white and on black."""
_ROUNDS = (0.0, 0.45, -0.35)  # later labels: the same, mixed with so much white, or with black
UNKNOWN_COLOUR = "#9ca3af"
"""Grey, for rejected clips."""


def label_colours(labels: Iterable[str]) -> dict[str, str]:
    """Return #rrggbb of each label, in their order; `unknown` is grey, 21 others differ."""
    colours: dict[str, str] = {}
    for label in dict.fromkeys(labels):
        index = len(colours.keys() - {UNKNOWN})
        colours[label] = UNKNOWN_COLOUR if label == UNKNOWN else _nth_colour(index)
    return colours


def timeline_colours(labels: Sequence[str], found: Collection[str]) -> dict[str, str]:
    """Return colours for the labels of a model and of the segments of a video.

    Where there are more labels than colours, labels that do not occur in the video are grey.
    """
    others = [label for label in dict.fromkeys(found) if label not in labels]
    if len(labels) <= len(_COLOURS) * len(_ROUNDS):
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
