"""A report as one HTML file."""

from pathlib import Path
from string import Template

from activity_cli.common.files import write_text_atomically
from activity_cli.report.data import Evidence
from activity_cli.report.html import cases, sections
from activity_cli.report.html.markup import Markup, join, tag, text
from activity_cli.report.html.order import order_section
from activity_cli.report.html.strips import confident_mistakes, least_certain, read_strips
from activity_cli.video.decoder_pool import AUTO_DECODERS, Decoders

_LIGHT = {
    "page": "#f6f7f9",
    "card": "#ffffff",
    "ink": "#17202c",
    "dim": "#5a6675",
    "edge": "#dde2e8",
    "model": "#0072b2",
    "right": "#00845f",
    "wrong": "#c24e00",
}
_DARK = {
    "page": "#10151c",
    "card": "#18202a",
    "ink": "#e8edf3",
    "dim": "#9aa7b6",
    "edge": "#2c3743",
    "model": "#56b4e9",
    "right": "#2fbf94",
    "wrong": "#f0813f",
}
"""Okabe and Ito's colours, as in `report.palette`, darker or lighter so that text is readable."""
_CONTENTS = {
    "labels": "Labels",
    "confusion": "Confusion",
    "scores": "Scores",
    "order": "The LSTM",
    "checks": "Checks",
    "mistakes": "Mistakes",
    "uncertain": "Uncertain",
    "made": "How it was made",
}


def write_report(evidence: Evidence, path: Path, *, decoders: Decoders = AUTO_DECODERS) -> None:
    """Write the report; the clips that it shows are decoded once more.

    Raises:
        OutputError: it cannot be written.
    """
    answers = evidence.answers
    mistakes, uncertain = confident_mistakes(answers), least_certain(answers)
    strips = read_strips(answers, [*mistakes, *uncertain], decoders)
    parts = [
        sections.labels_section(evidence),
        sections.confusion_section(evidence),
        sections.scores_section(evidence),
        order_section(evidence),
        sections.checks_section(evidence),
        cases.mistakes_section(answers, mistakes, strips),
        cases.uncertain_section(answers, uncertain, strips),
        sections.data_section(evidence),
    ]
    write_text_atomically(path, render_page(evidence, parts))


def render_page(evidence: Evidence, parts: list[Markup]) -> str:
    """The whole page around its sections."""
    contents = join(tag("a", title, href=f"#{name}") for name, title in _CONTENTS.items())
    style = _asset("page.css").substitute(light=_variables(_LIGHT), dark=_variables(_DARK))
    return _asset("page.html").substitute(
        title=text(f"{evidence.title} · activity"),
        heading=text(evidence.title),
        subtitle=text(evidence.subtitle),
        how=text(evidence.how),
        tiles=sections.tiles(evidence),
        contents=contents,
        sections=join(parts),
        style=style,
        script=_asset("page.js").template,
        version=text(evidence.versions["activity-cli"]),
        created=text(evidence.created),
    )


def _asset(name: str) -> Template:
    return Template(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
