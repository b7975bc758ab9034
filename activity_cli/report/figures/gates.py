"""Gates and cells of an LSTM over time, in one small plot."""

from typing import TYPE_CHECKING

import numpy as np

from activity_cli.evaluation.explanation.values import Floats, GateTrace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GATES = {"input": "#0072b2", "forget": "#d55e00", "output": "#009e73"}
_CELL = "#9ca3af"


def plot_gates(axes: "Axes", seconds: Floats, trace: GateTrace, unit: int | None) -> None:
    """Three lines for the gates, and behind them, on a scale of its own, the cell as an area.

    Args:
        axes: from 0 to 1.
        seconds: (T,) times of the frames.
        trace: a layer in one direction.
        unit: which one; None is the mean over all, of cells the mean size.
    """
    for gate, colour in _GATES.items():
        values = getattr(trace, gate)
        values = values.mean(axis=1) if unit is None else values[:, unit]
        axes.plot(seconds, values, color=colour, linewidth=1.6, label=f"{gate} gate")
    cell = np.abs(trace.cell).mean(axis=1) if unit is None else trace.cell[:, unit]
    behind = axes.twinx()
    behind.fill_between(seconds, cell, color=_CELL, alpha=0.35, linewidth=0)
    size = 1.1 * max(float(np.abs(cell).max()), 1e-6)
    behind.set_ylim(0 if unit is None else -size, size)
    behind.axis("off")
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    axes.fill_between([], [], color=_CELL, alpha=0.35, label="cell: what is known")
