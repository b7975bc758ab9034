"""An explanation as JSON, and as a table for the terminal."""

from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.evaluation.explanation.summary import (
    describe_agreement,
    describe_attention,
    find_span,
    share_by_stream,
    span_seconds,
    summarise,
    where,
)
from activity_cli.evaluation.explanation.values import Explanation, Floats, LstmTrace
from activity_cli.report.terminal import bar, new_table

_BAR_CELLS = 9  # on each side of zero
_GATES = ("input", "forget", "output")


def explanation_values(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as plain values, without the pictures."""
    e, importance = explanation, explanation.importance
    attention, span = importance.attention, find_span(importance)
    start, end = span_seconds(e, span) if span else (None, None)
    shares = share_by_stream(importance)
    return {
        "video": str(e.video),
        "model": e.model,
        "num_networks": e.num_members,
        "label": e.label,
        "score": e.score,
        "predicted": {"label": e.prediction.label, "score": e.prediction.score},
        "start_seconds": e.start_seconds,
        "end_seconds": e.end_seconds,
        "summary": summarise(e),
        "evidence": {
            "total": importance.evidence,
            "constant": importance.constant,
            "by_summary": float(importance.pooled.sum()),
            "by_lstm": float(importance.temporal.sum()),
            "lstm_share": importance.lstm_share,
            "half_from_seconds": start,
            "half_to_seconds": end,
        },
        "agreement": {
            "rank_correlation": importance.agreement,
            "meaning": describe_agreement(importance),
            "attention_rank_correlation": importance.attention_agreement,
            "attention_meaning": describe_attention(importance),
        },
        "streams": {
            stream: {"share": float(share), "where": where(heat, importance)}
            for (stream, heat), share in zip(e.heat.items(), shares, strict=True)
        },
        "frames": [
            {
                "seconds": float(seconds),
                "evidence": float(importance.per_frame[i]),
                "by_stream": dict(
                    zip(e.heat, importance.contributions[:, i].tolist(), strict=True)
                ),
                "by_summary": float(importance.pooled[:, i].sum()),
                "by_lstm": float(importance.temporal[:, i].sum()),
                "left_out": float(importance.occlusion[i]),
                "attention": None if attention is None else float(attention[i]),
                "heat": {stream: _rounded(heat[i], 5) for stream, heat in e.heat.items()},
            }
            for i, seconds in enumerate(e.seconds)
        ],
        "heat_stage": e.stage,
        "lstm": _lstm(e.lstm) if e.lstm else {"says_nothing_because": e.lstm_unused},
    }


def show_explanation(explanation: Explanation) -> RenderableType:
    """Show the summary, a line per frame, and how reliable these are."""
    e, importance = explanation, explanation.importance
    attention = importance.attention if importance.attention_matters else None
    figures = dict(zip(e.heat, importance.contributions, strict=True))
    if e.lstm is not None:
        figures["LSTM"] = importance.temporal.sum(axis=0)
    figures["occlusion"] = importance.occlusion
    columns = {name: [f"{value:+.2f}" for value in values] for name, values in figures.items()}
    if attention is not None:
        columns["attention"] = [f"{value:.2f}" for value in attention]
    table = new_table("time", "evidence", "", *columns)
    for column in (table.columns[0], *table.columns[2:]):
        column.justify = "right"
    largest = max(float(np.abs(importance.per_frame).max()), 1e-9)
    for number, total in enumerate(importance.per_frame.tolist()):
        style = "cyan" if total >= 0 else "red"
        share = Text(_signed_bar(total / largest), style)
        time, values = f"{e.seconds[number]:.2f} s", (each[number] for each in columns.values())
        table.add_row(time, share, Text(f"{total:+.2f}", style), *values)
    notes = [describe_agreement(importance), describe_attention(importance)]
    if e.lstm_unused:
        notes.append(f"The LSTM is not used: {e.lstm_unused}.")
    if e.num_members > 1:
        notes.append(f"The mean of {e.num_members} networks is explained.")
    text = "\n".join(note for note in notes if note)
    return Group(Text(summarise(e), "bold"), Text(), table, Text(), Text(text, "dim"))


def _signed_bar(share: float) -> str:
    """Return a bar that grows to the right for a share up to 1, and to the left down to -1."""
    against = round(max(-share, 0.0) * _BAR_CELLS)
    return ("█" * against).rjust(_BAR_CELLS) + "│" + bar(share, _BAR_CELLS)


def _lstm(lstm: LstmTrace) -> dict[str, Any]:
    """Return means over all units, layer by layer, and the units with the largest effect."""
    return {
        "layers": [
            {
                "layer": trace.layer,
                "direction": trace.direction,
                **{f"{gate}_gate": _rounded(getattr(trace, gate).mean(axis=1)) for gate in _GATES},
                "cell_size": _rounded(np.abs(trace.cell).mean(axis=1)),
            }
            for trace in lstm.traces
        ],
        "telling_units": [
            {
                "direction": unit.direction,
                "unit": unit.index,
                "effect": unit.effect,
                **{f"{g}_gate": _rounded(getattr(trace, g)[:, unit.index]) for g in _GATES},
                "cell": _rounded(trace.cell[:, unit.index]),
                "output": _rounded(trace.hidden[:, unit.index]),
            }
            for unit in lstm.top_units
            if (trace := lstm.last(unit.direction))
        ],
    }


def _rounded(values: Floats, digits: int = 4) -> Any:
    return np.round(values.astype(np.float64), digits).tolist()
