"""The sections of a report: figures and charts, each with a sentence that says how to read it."""

from collections.abc import Iterable, Sequence

from activity_cli.evaluation.intervals import Figure, wilson_figure
from activity_cli.report.data import Evidence
from activity_cli.report.html.charts import (
    interval_bar,
    reliability,
    score_histogram,
)
from activity_cli.report.html.markup import Content, Markup, join, prose, tag
from activity_cli.report.html.parts import facts_list, figure_parts, section
from activity_cli.report.metadata import machine

_FEW_LABELS, _MANY_LABELS = 4, 14
"""Confusion matrices of so few labels are drawn large, of so many without room to spare."""
_MARKS = {"fine": "✓", "note": "i", "warning": "!"}
_MOST_LEFT_OUT = 50


def tiles(evidence: Evidence) -> Markup:
    """The headline figures."""
    figures, evaluation = evidence.findings.figures, evidence.answers.evaluation
    majority = evidence.findings.rivalry.of("majority")
    found = [
        _tile("Accuracy", figures.accuracy, f"{evaluation.num_clips} clips"),
        *(
            _tile(f"Among the best {k}", figure, "share of the clips")
            for k, figure in list(figures.top_k.items())[:1]
        ),
        _tile("Macro F1", figures.macro_f1, "mean over labels"),
    ]
    if majority is not None:
        note = "always the same answer"
        found.append(_tile("Majority label", majority.accuracy, note, kind="rival"))
    error = f"{evaluation.calibration_error:.3f}"
    found.append(
        tag(
            "div",
            tag("div", "Calibration error", class_="name"),
            tag("div", error, class_="value"),
            tag("div", "distance of scores from the share that is right; 0 is best", class_="note"),
            class_="tile",
        )
    )
    return tag("div", *found, class_="tiles")


def _tile(name: str, figure: Figure, note: str, *, kind: str = "model") -> Markup:
    interval = f"95% interval {figure.low:.3f} to {figure.high:.3f} · {note}"
    return tag(
        "div",
        tag("div", name, class_="name"),
        tag("div", f"{figure.value:.3f}", class_="value"),
        interval_bar(figure, kind),
        tag("div", interval, class_="note"),
        class_="tile",
    )


def labels_section(evidence: Evidence) -> Markup:
    """Figures of every label and of every fold."""
    figures = evidence.findings.figures
    drawn = "groups of clips that belong together" if figures.by_group else "clips"
    lead = (
        "Precision: of the clips called so, how many are. Recall: of the clips that are, how many "
        f"were called so. Beside each figure its 95% interval, from 1000 draws of the "
        f"{figures.num_units} {drawn}."
    )
    rows = [
        _figures_row(row.label, f"{row.num_clips} clips", (row.precision, row.recall, row.f1))
        for row in figures.per_label
    ]
    macro = (figures.macro_precision, figures.macro_recall, figures.macro_f1)
    rows.append(_figures_row("All labels alike", "macro mean", macro))
    head = tag("tr", *(tag("th", name) for name in ("Label", "Precision", "Recall", "F1")))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="figures")
    parts = [tag("div", table, class_="card")]
    if figures.top_k:
        told = "; ".join(
            f"among the best {k}: {_interval(figure)}" for k, figure in figures.top_k.items()
        )
        parts.append(tag("p", f"The true label is {told}.", class_="dim"))
    if evidence.folds:
        parts.append(_folds(evidence))
    return section("labels", "How good, label by label", lead, *parts)


def _figures_row(name: str, note: str, found: Sequence[Figure | None]) -> Markup:
    cells = [tag("td", name, tag("small", note), class_="label")]
    for figure, title in zip(found, ("Precision", "Recall", "F1"), strict=True):
        cells.append(tag("td", *figure_parts(figure), class_="figure", data_name=title))
    return tag("tr", *cells)


def _folds(evidence: Evidence) -> Markup:
    found = []
    for fold in evidence.folds:
        figure = wilson_figure(round(fold.accuracy * fold.num_clips), fold.num_clips)
        epoch = f"epoch {fold.best_epoch}" if fold.best_epoch else "LSTM left out"
        note = f"{fold.num_clips} clips, {epoch}" if evidence.findings.rivalry.has_lstm else ""
        parts = [f"Fold {fold.name}", tag("small", note), *figure_parts(figure)]
        found.append(tag("div", *parts, class_="fold"))
    lead = (
        "Accuracy on each held-out fold. Folds are small, so they differ by chance alone; these "
        "intervals count clips (Wilson)."
    )
    if any(not fold.best_epoch for fold in evidence.folds) and evidence.findings.rivalry.has_lstm:
        lead += (
            " LSTM left out: on the clips that choose the epoch it gained less than chance would, "
            "so that network relies on the clips' means."
        )
    folds = tag("div", *found, class_="folds")
    return tag("div", tag("h3", "Fold by fold"), tag("p", lead, class_="dim"), folds, class_="card")


def confusion_section(evidence: Evidence) -> Markup:
    """The confusion matrix: clips, and the share of each row."""
    labels, counts = evidence.answers.labels, evidence.answers.evaluation.confusion
    dense = len(labels) > _MANY_LABELS
    size = "large" if len(labels) <= _FEW_LABELS else "dense" if dense else ""
    head = [tag("th", "called →", tag("br"), "true ↓"), *(tag("th", label) for label in labels)]
    rows = []
    for i, label in enumerate(labels):
        total = int(counts[i].sum())
        cells = [
            _confusion_cell(label, labels[j], int(count), total, right=i == j, dense=dense)
            for j, count in enumerate(counts[i])
        ]
        rows.append(tag("tr", tag("th", label), *cells))
    table = tag(
        "table",
        tag("thead", tag("tr", *head)),
        tag("tbody", *rows),
        class_=f"confusion {size}".strip(),
    )
    mistakes = evidence.answers.evaluation.worst_confusions(5)
    told = [
        tag("li", f"{true} taken for {named}: {count} of {_count(evidence, true)}")
        for true, named, count in mistakes
    ]
    worst = tag("ul", *told) if told else tag("p", "No clip was named wrongly.")
    return section(
        "confusion",
        "What is taken for what",
        "A row per true label: number of clips, and their share of the row.",
        tag(
            "div",
            tag("div", tag("div", table, class_="scroll"), class_="card"),
            tag("div", tag("h3", "Most frequent mistakes"), worst, class_="card"),
            class_="columns",
        ),
    )


def _count(evidence: Evidence, label: str) -> str:
    row = next(row for row in evidence.findings.figures.per_label if row.label == label)
    return f"{row.num_clips} clips"


def _confusion_cell(
    true: str, named: str, count: int, total: int, *, right: bool, dense: bool
) -> Markup:
    share = count / total if total else 0.0
    colour = "right" if right else "wrong"
    style = f"background: color-mix(in srgb, var(--{colour}) {14 + 52 * share:.0f}%, var(--page))"
    told = f"{true} called {named}: {count} of {total}, {share:.1%}"
    inside: list[Content] = [count if count or not dense else ""]
    if not dense:
        inside.append(tag("small", f"{share:.0%}" if total else "–"))
    return tag("td", *inside, style=style if count else None, title=told)


def scores_section(evidence: Evidence) -> Markup:
    """Whether scores mean what they say."""
    right, error = evidence.answers.is_right, evidence.answers.evaluation.calibration_error
    lead = (
        f"Expected calibration error {error:.3f}: so far, on average, is a score from the share of "
        "clips with that score that are right. On the dashed line it would be 0."
    )
    return section(
        "scores",
        "Can scores be believed?",
        lead,
        tag(
            "div",
            tag(
                "div",
                tag("h3", "Score and truth"),
                reliability(evidence.answers.scores, right, error),
                class_="card",
            ),
            tag(
                "div",
                tag("h3", "Scores of right and wrong answers"),
                score_histogram(evidence.answers.scores, right),
                class_="card",
            ),
            class_="columns",
        ),
    )


def checks_section(evidence: Evidence) -> Markup:
    """What makes figures say less than they seem to."""
    items = [
        tag(
            "li",
            tag("span", _MARKS[check.level], class_="mark", aria_label=check.level),
            tag("div", tag("b", check.title), tag("p", prose(check.text))),
            class_=check.level,
        )
        for check in evidence.findings.checks
    ]
    lead = "What often makes such figures say less than they seem to, looked for in these."
    return section("checks", "Checks", lead, tag("ul", *items, class_="checks"))


def data_section(evidence: Evidence) -> Markup:
    """Data, model, speed, settings, versions and the command."""
    speed = {**evidence.speed, "measured on": machine()}
    parts = [
        tag("div", tag("h3", "Data and model"), facts_list(evidence.facts), class_="card"),
        tag("div", tag("h3", "Speed"), facts_list(speed), class_="card"),
    ]
    settings = [
        join([tag("h3", table), facts_list(values)])
        for table, values in evidence.settings.items()
        if values
    ]
    return section(
        "made",
        "How it was made",
        "",
        tag("pre", evidence.command),
        tag("div", *parts, class_="columns"),
        *_left_out(evidence),
        tag("details", tag("summary", "Settings"), *settings) if settings else "",
        tag("details", tag("summary", "Versions"), facts_list(evidence.versions)),
    )


def _left_out(evidence: Evidence) -> Iterable[Markup]:
    if not evidence.answers.left_out:
        return
    items = [
        tag("li", f"{clip.name}: {clip.status}, {clip.reason}")
        for clip in evidence.answers.left_out[:_MOST_LEFT_OUT]
    ]
    more = len(evidence.answers.left_out) - len(items)
    if more:
        items.append(tag("li", f"and {more} more; all are in predictions.csv"))
    summary = f"Clips without a score: {len(evidence.answers.left_out)}"
    yield tag("details", tag("summary", summary), tag("ul", *items))


def _interval(figure: Figure) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
