"""The content of a report -> report.html by Jinja2 templates: one file that needs no network."""

import base64
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from activity_cli.common.files import write_text_atomically
from activity_cli.data.dataset import Sample
from activity_cli.errors import VideoError
from activity_cli.evaluation import Predictions
from activity_cli.evaluation.baselines import TITLES, signed_points
from activity_cli.evaluation.intervals import wilson_estimate
from activity_cli.model.calibration import Scores
from activity_cli.report.assembly import ReportData
from activity_cli.report.figures import Draw, draw_here
from activity_cli.report.html.charts import reliability, score_histogram, score_timeline
from activity_cli.report.terminal import clock, printable
from activity_cli.video.decoder_pool import AUTO_DECODERS, ClipReader, DecoderPool, Decoders

if TYPE_CHECKING:
    from jinja2 import Environment


_MAX_CLIPS = 8
_NUM_FRAMES = 6
_HEIGHT = 132


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Frames of a clip, or why there are none."""

    frames: tuple[tuple[str, float], ...] = ()  # data: URI, and seconds in the video
    shape: float = 4 / 3  # width divided by height
    problem: str = ""


def write_report(
    data: ReportData, path: Path, *, decoders: Decoders = AUTO_DECODERS, draw: Draw = draw_here
) -> None:
    """Write the report, or raise an OutputError; clips that it shows are decoded once more."""
    predictions = data.predictions
    certainty, margin = _certainty(predictions)
    most_certain = np.argsort(-certainty, kind="stable")
    errors = most_certain[~predictions.is_correct[most_certain]][:_MAX_CLIPS].tolist()
    # A clip is shown once.
    others = (i for i in np.argsort(margin, kind="stable").tolist() if i not in errors)
    uncertain = list(islice(others, _MAX_CLIPS))
    clips = {position: predictions.clips[position] for position in (*errors, *uncertain)}
    spans = {n: (clip.sample, clip.duration_seconds) for n, clip in clips.items()}
    strips = read_strips(spans, decoders)
    write_text_atomically(path, render_report(data, errors, uncertain, strips, draw))


def _certainty(predictions: Predictions) -> tuple[Scores, Scores]:
    """Return (N,) how sure each clip's answer is, and how close it is to another one."""
    scores = predictions.scores
    if predictions.thresholds is None:
        second, best = np.sort(scores, axis=1)[:, -2:].T
        return best, best - second
    distance = np.abs(scores - predictions.thresholds)
    wrong = (scores >= predictions.thresholds) != (predictions.targets > 0)
    return np.where(wrong, distance, 0).max(axis=1), distance.min(axis=1)


def render_report(
    data: ReportData,
    errors: Sequence[int],
    uncertain: Sequence[int],
    strips: Mapping[int, Strip],
    draw: Draw = draw_here,
) -> str:
    """Return the page; `errors` and `uncertain` are positions of clips to show with their strips.

    These are the wrong clips with the highest scores, and those whose two best scores are closest.
    """
    predictions = data.predictions
    correct, error = predictions.is_correct, predictions.evaluation.calibration_error
    scores = predictions.scores
    if predictions.evaluation.multi_label:  # each label by itself
        scores, correct = scores.reshape(-1, 1), predictions.targets.ravel() > 0
    diagram = draw(reliability, scores, correct, error)
    histogram = draw(score_histogram, scores, correct)
    gains = [baseline.gain for baseline in data.findings.baselines.baselines]
    template = environment().get_template("report.html.j2")
    return template.render(
        data=data,
        reliability=diagram.result(),
        histogram=histogram.result(),
        errors=[_card(predictions, position, strips[position]) for position in errors],
        uncertain=[_card(predictions, position, strips[position]) for position in uncertain],
        titles=TITLES,
        widest=max(abs(bound) for gain in gains for bound in (gain.low, gain.high)) or 1.0,
        wilson=wilson_estimate,
    )


def _card(predictions: Predictions, position: int, strip: Strip) -> Mapping[str, object]:
    """Return what the template shows of a clip."""
    scores, clip = predictions.scores[position], predictions.clips[position]
    labels = predictions.labels
    best = [int(i) for i in np.argsort(-scores, kind="stable")[:3]]
    timeline = None
    if predictions.orders is not None:
        target, parts = int(predictions.targets[position]), predictions.orders.parts[position]
        other = next(label for label in best if label != target)
        colour = "wrong" if best[0] == other else "dim"
        timeline = score_timeline(
            [(colour, parts[:, other].tolist()), ("right", parts[:, target].tolist())],
            start=clip.start_seconds,
            end=clip.start_seconds + clip.duration_seconds,
            label=f"Scores over time of {labels[target]} and {labels[other]}",
        )
    top = [(labels[i], float(scores[i])) for i in best]
    piece = "" if clip.sample.start_seconds is None else f"#t={clip.start_seconds:.3f}"
    address = clip.sample.path.absolute().as_uri() + piece  # opens the clip in a player
    return {"clip": clip, "strip": strip, "top": top, "timeline": timeline, "address": address}


@cache
def environment() -> "Environment":
    """Return the templates and their filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_as_text,
    )
    found.filters |= {"percent": "{:.1%}".format, "points": signed_points, "clock": clock}
    found.filters["code"] = _code
    return found


def _as_text(value: object) -> object:
    """Escape what cannot be printed in labels, file names and settings."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _code(text: str) -> Markup:
    """Turn text between backticks into code."""
    parts = [escape(printable(part)) for part in text.split("`")]
    parts[1::2] = [Markup("<code>{}</code>").format(part) for part in parts[1::2]]
    return Markup("").join(parts)


def read_strips(
    spans: Mapping[int, tuple[Sample, float]], decoders: Decoders
) -> Mapping[int, Strip]:
    """Decode a few frames of clips, each a sample with its length in seconds."""
    with DecoderPool(decoders) as pool, ThreadPoolExecutor(decoders.num_workers) as threads:
        read = partial(_read, pool.reader())
        return dict(zip(spans, threads.map(read, spans.values()), strict=True))


def _read(reader: ClipReader, span: tuple[Sample, float]) -> Strip:
    from activity_cli.report.overlay.thumbnails import read_jpegs

    sample, duration_seconds = span
    share = (np.arange(_NUM_FRAMES) + 0.5) / _NUM_FRAMES
    times = ((sample.start_seconds or 0.0) + share * duration_seconds).tolist()
    try:
        files, (width, height) = reader.call(read_jpegs, sample.path, times, height=_HEIGHT)
    except VideoError as error:
        return Strip(problem=str(error))
    images = [f"data:image/jpeg;base64,{base64.b64encode(f.tobytes()).decode()}" for f in files]
    shape = max(width / height, 4 / 3)  # frames of upright videos would be as high as a page
    return Strip(frames=tuple(zip(images, times, strict=True)), shape=shape)
