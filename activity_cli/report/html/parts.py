"""What several sections are made of."""

from activity_cli.evaluation.intervals import Figure
from activity_cli.report.html.charts import interval_bar
from activity_cli.report.html.markup import Content, Markup, join, tag
from activity_cli.report.metadata import Facts


def section(name: str, title: str, lead: Content, *content: Content) -> Markup:
    """A section with its heading and what it is about."""
    parts = [tag("h2", title), tag("p", lead, class_="lead") if lead else "", *content]
    return tag("section", *parts, id=name)


def figure_parts(figure: Figure | None, kind: str = "model") -> list[Content]:
    """A figure with its interval in numbers and as a bar: for a table's cell."""
    if figure is None:
        return [tag("span", "none", class_="range")]
    bounds = f" {figure.low:.2f}–{figure.high:.2f}"
    return [
        tag("b", f"{figure.value:.3f}"),
        tag("span", bounds, class_="range"),
        interval_bar(figure, kind),
    ]


def facts_list(values: Facts) -> Markup:
    """Names and values, one below the other."""
    pairs = [
        join([tag("dt", name.replace("_", " ")), tag("dd", value)])
        for name, value in values.items()
    ]
    return tag("dl", *pairs, class_="facts")
