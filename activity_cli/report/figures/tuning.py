"""Pictures of a search, drawn by Optuna: trials over time, importance, and each setting."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from activity_cli.report.figures.plots import save_figure

if TYPE_CHECKING:
    import optuna


def plot_tuning(study: "optuna.Study", importance: Mapping[str, float], folder: Path) -> None:
    """Write history.png, settings.png and, unless importance is empty, importance.png.

    Raises:
        OutputError: a picture cannot be written.
    """
    with _pyplot() as (pyplot, plots):
        _save(
            plots.plot_optimization_history(study, target_name="log-loss"), folder / "history.png"
        )
        _save(plots.plot_slice(study, target_name="log-loss"), folder / "settings.png")
        if importance:
            _save(plots.plot_param_importances(study), folder / "importance.png")
        pyplot.close("all")


@contextmanager
def _pyplot() -> Iterator[tuple[Any, Any]]:
    """Import Optuna's plots, without a window system and without lasting changes of style."""
    import matplotlib as mpl
    from matplotlib import pyplot

    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # Optuna marks its plots as experimental
        from optuna.visualization import matplotlib as plots

        pyplot.switch_backend("agg")
        yield pyplot, plots


def _save(axes: Any, path: Path) -> None:
    save_figure(np.ravel(axes)[0].figure, path)
