"""Reports of captioners: their content, the files of a run, and what the terminal shows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from activity_cli.common import count_of
from activity_cli.common.files import write_json, write_text_atomically
from activity_cli.common.settings_file import SETTINGS_FILE
from activity_cli.common.tables import write_table
from activity_cli.evaluation.captions import (
    METRICS,
    MODEL,
    TITLES,
    CaptionScores,
    Described,
    score_described,
)
from activity_cli.evaluation.comparison import METRICS_FILE, PREDICTIONS_FILE
from activity_cli.evaluation.intervals import MIN_GROUPS
from activity_cli.features.streams import network_names
from activity_cli.model.folder import CARD_FILE, ModelDescription, installed_versions
from activity_cli.report.figures import plot_curves
from activity_cli.report.terminal import new_table

if TYPE_CHECKING:
    from activity_cli.features.labelled import LabelledClips
    from activity_cli.training.describing.run import CaptionRun

RATIO = "CIDEr"  # not a share: up to 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionReport:
    """The content of a report."""

    title: str
    subtitle: str
    method: str
    described: Described
    scores: tuple[CaptionScores, ...]  # the model first, then the baselines
    metadata: Mapping[str, str]
    settings: Mapping[str, Any]
    command: str
    next_command: str = ""
    left_out: Sequence[tuple[str, str, str]] = ()  # name, status and reason
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    created: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))

    @property
    def conclusion(self) -> str:
        """The model's CIDEr, and that of the best baseline."""
        own, *others = self.scores
        found = own.metrics[RATIO]
        count = count_of(len(self.described.samples), "clip")
        interval = f"95% CI {found.low:.2f} to {found.high:.2f} by {self.units}"
        text = f"CIDEr {found.value:.2f} ({interval}), {count}."
        if not others:
            return text
        best = max(others, key=lambda one: one.metrics[RATIO].value)
        title = TITLES[best.name][0].lower() + TITLES[best.name][1:]
        return f"{text} Best baseline, {title}: {best.metrics[RATIO].value:.2f}."

    @property
    def units(self) -> str:
        """What the intervals resample: `60 clips`, or `3 groups`."""
        groups = self.described.groups
        if groups is None:
            return count_of(len(self.described.samples), "clip")
        return count_of(len(np.unique(groups)), "group")

    @property
    def has_few_groups(self) -> bool:
        """Whether the groups are too few for intervals that can be trusted."""
        groups = self.described.groups
        return groups is not None and len(np.unique(groups)) < MIN_GROUPS

    @property
    def problem(self) -> str:
        """Why the sentences cannot be trusted; empty where nothing speaks against it."""
        own = self.scores[0].metrics[RATIO]
        for other in self.scores[1:]:
            if other.metrics[RATIO].value >= own.low:
                return f"not clearly better than a baseline: {TITLES[other.name].lower()}."
        return ""

    def to_json(self) -> dict[str, Any]:
        """Return the content of metrics.json."""
        return {
            "task": "describe",
            "conclusion": {"problem": self.problem, "sentence": self.conclusion},
            "num_clips": len(self.described.samples),
            "metrics": {one.name: one.to_json() for one in self.scores},
            "num_left_out": len(self.left_out),
            "command": self.command,
        }


def caption_report(
    described: Described,
    *,
    title: str,
    subtitle: str,
    method: str,
    data: "LabelledClips | ModelDescription",
    settings: Mapping[str, Any],
    command: str,
    next_command: str = "",
    left_out: Sequence[tuple[str, str, str]] = (),
) -> CaptionReport:
    """Score the sentences, and put together what a report shows."""
    samples = described.samples
    number = sum(len(sample.captions) for sample in samples)
    seconds = np.array(described.seconds)
    groups = "none" if described.groups is None else str(len(np.unique(described.groups)))
    clip = data.clip
    return CaptionReport(
        title=title,
        subtitle=subtitle,
        method=method,
        described=described,
        scores=score_described(described),
        metadata={
            "Clips": f"{len(samples)} with {number} captions",
            "Length": f"{seconds.min():.1f} to {seconds.max():.1f} s",
            "Groups": groups,
            "CNN": network_names(clip, data.backbone),
            "Input": f"{clip.num_frames} frames of {clip.frame_size} × {clip.frame_size} per clip",
            "Engine": data.engine,
        },
        settings=settings,
        command=command,
        next_command=next_command,
        left_out=left_out,
    )


def run_metrics(run: "CaptionRun", content: CaptionReport) -> dict[str, Any]:
    """Return the content of a training run's metrics.json."""
    return {
        **content.to_json(),
        "measured_on": run.measured_on,
        "best_epoch": run.result.best_epoch,
        "num_epochs": run.result.history[-1].epoch,
        "ended_by": run.result.ending,
        "notes": list(run.result.notes),
        "leakage": run.leakage.to_json() if run.leakage else None,
        "seconds": {stage: round(seconds, 2) for stage, seconds in run.stage_seconds.items()},
        "run": str(run.folder),
    }


def write_caption_run(
    run: "CaptionRun", content: CaptionReport, metrics: Mapping[str, Any], settings: str
) -> None:
    """Write the files of a training run but its model and report.html; may raise an OutputError."""
    folder = run.folder
    write_captions(folder, content, metrics, settings)
    epochs = [asdict(epoch) for epoch in run.result.history]
    write_table(folder / "history.csv", list(epochs[0]), [list(row.values()) for row in epochs])
    plot_curves(epochs, run.result.best_epoch, folder / "curves.png")
    write_text_atomically(run.model.folder / CARD_FILE, _card(run, content))


def write_captions(
    folder: Path, content: CaptionReport, metrics: Mapping[str, Any], settings: str = ""
) -> None:
    """Write metrics.json, settings.toml and predictions.csv: a row per clip; or an OutputError."""
    write_json(folder / METRICS_FILE, metrics)
    if settings:
        write_text_atomically(folder / SETTINGS_FILE, settings)
    found = content.described
    most = max(len(sample.captions) for sample in found.samples)
    columns = [
        *("path", "start", "end", "group", "caption", "probability", "CIDEr"),
        *found.baselines,
        *(f"reference_{n + 1}" for n in range(most)),
    ]
    rows = []
    for row, sample in enumerate(found.samples):
        best = found.captions[row][0]
        rows.append(
            [
                *(sample.name, sample.start_seconds, sample.end_seconds, sample.group, best.text),
                *(round(best.probability, 6), round(float(content.scores[0].cider[row]), 6)),
                *(said[row] for said in found.baselines.values()),
                *sample.captions,
                *[None] * (most - len(sample.captions)),
            ]
        )
    write_table(folder / PREDICTIONS_FILE, columns, rows)


def _card(run: "CaptionRun", content: CaptionReport) -> str:
    """Return the model card as Markdown."""
    description = run.model.description
    lines = [" | ".join(["", *METRICS]), "|".join(["---"] * (len(METRICS) + 1))]
    lines += [" | ".join([TITLES[one.name], *_values(one)]) for one in content.scores]
    return "\n".join(
        [
            f"# {description.name}\n",
            "Writes a sentence about a clip. Trained on "
            f"{description.data['num_clips']} clips with {description.data['num_captions']} "
            f"captions, {len(description.labels) - 2} words.\n",
            f"Measured on {len(run.rows)} {run.measured_on} clips:\n",
            *lines,
            "\nIt can only write what its training captions state, also about videos of other "
            "kinds. Do not make decisions about people by its output alone.\n",
            f"Trained by `{content.command}`.\n",
        ]
    )


def _values(scores: CaptionScores) -> list[str]:
    return [
        f"{one.value:.2f}" if name == RATIO else f"{one.value:.1%}"
        for name, one in scores.metrics.items()
    ]


def show_captions(content: CaptionReport, folder: Path | None) -> RenderableType:
    """Show the conclusion, the metrics beside the baselines, and three clips."""
    lines: list[RenderableType] = [Text()]
    if content.problem:
        lines.append(Text(f"Warning: {content.problem}", "yellow"))
    lines.append(Text(content.conclusion, "bold"))
    if content.next_command:
        lines.append(Text.assemble("Next:  ", (content.next_command, "bold cyan")))
    table = new_table("", *METRICS, right=slice(1, None))
    for scores in content.scores:
        table.add_row(Text(scores.name), *_values(scores), style="bold" * (scores.name == MODEL))
    lines += [Text(), table, Text()]
    found = content.described
    order = np.argsort(-content.scores[0].cider, kind="stable")
    chosen = {"Best": order[0], "Median": order[len(order) // 2], "Worst": order[-1]}
    for name, row in list(chosen.items())[: len(order)]:
        sample, said = found.samples[row], found.captions[row][0].text
        lines += [Text.assemble((f"{name}: ", "dim"), sample.name)]
        lines += [Text(f"  model   {said}"), Text(f"  person  {sample.captions[0]}", "dim")]
    lines += [Text(), Text(content.method, "dim")]
    if folder is not None:
        lines.append(Text(f"Report: {folder / 'report.html'}", no_wrap=True))
    return Group(*lines)
