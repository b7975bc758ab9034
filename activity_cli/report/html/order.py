"""Does the LSTM help? The model beside what is simpler."""

from activity_cli.evaluation.baselines import TITLES, Rival, Rivalry
from activity_cli.report.data import Evidence
from activity_cli.report.html.charts import difference_bar
from activity_cli.report.html.markup import Content, Markup, prose, tag
from activity_cli.report.html.parts import figure_parts, section


def order_section(evidence: Evidence) -> Markup:
    """The answer in words, then the figures that it follows from."""
    rivalry = evidence.findings.rivalry
    missing = [f"{TITLES[kind][0]}: {why}." for kind, why in rivalry.missing.items()]
    notes = [
        "Differences are in points of accuracy on the same clips, with paired 95% intervals; p is "
        "McNemar's exact test, which takes clips as independent. Shuffled is the mean of 4 orders. "
        "A motion image still shows which way things moved between its own two frames.",
        *([f"Not measured. {' '.join(missing)}"] if missing else []),
    ]
    return section(
        "order",
        "Does the LSTM help?",
        "",
        tag("p", rivalry.answer(), class_="verdict"),
        tag("div", _table(evidence, rivalry), class_="card"),
        *(tag("p", prose(note), class_="dim") for note in notes),
    )


def _table(evidence: Evidence, rivalry: Rivalry) -> Markup:
    names = ("", "Accuracy", "Model gains, points", "Right, only model / only this")
    classes = (None, None, None, "number")
    head = [tag("th", name, class_=c) for name, c in zip(names, classes, strict=True)]
    accuracy = figure_parts(evidence.findings.figures.accuracy)
    model = tag(
        "tr",
        tag("td", "The model", tag("small", "as it is"), class_="label"),
        tag("td", *accuracy, class_="figure", data_name="Accuracy"),
        tag("td"),
        tag("td"),
    )
    widest = max(max(abs(r.gain.low), abs(r.gain.high)) for r in rivalry.rivals) or 1.0
    rows = [model, *(_row(rival, widest) for rival in rivalry.rivals)]
    return tag(
        "table", tag("thead", tag("tr", *head)), tag("tbody", *rows), class_="figures rivals"
    )


def _row(rival: Rival, widest: float) -> Markup:
    title, what = TITLES[rival.kind]
    gain = rival.gain
    bounds = f" {_points(gain.low)} to {_points(gain.high)}"
    gained: list[Content] = [tag("b", _points(gain.value)), tag("span", bounds, class_="range")]
    same = rival.p_value is None or rival.only_model == rival.only_rival == 0
    chance = "" if same else f" · p {_p(rival.p_value)}"
    parted = f"{rival.only_model:.3g} / {rival.only_rival:.3g}{chance}"
    accuracy = figure_parts(rival.accuracy, "rival")
    return tag(
        "tr",
        tag("td", title, tag("small", what), class_="label"),
        tag("td", *accuracy, class_="figure", data_name="Accuracy"),
        tag(
            "td",
            *gained,
            difference_bar(gain, widest),
            class_="figure",
            data_name="Model gains, points",
        ),
        tag("td", parted, class_="number", data_name="Right, only model / only this:"),
    )


def _points(share: float) -> str:
    """A difference in percentage points."""
    return f"{100 * share:+.1f}" if round(100 * share, 1) else "0.0"


def _p(value: float | None) -> str:
    assert value is not None
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"
