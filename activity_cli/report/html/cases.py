"""Clips as cards: pictures, what was said of them, and what the model says of their parts."""

from collections.abc import Mapping, Sequence

import numpy as np

from activity_cli.report.data import Answers
from activity_cli.report.html.charts import score_timeline
from activity_cli.report.html.markup import Content, Markup, tag
from activity_cli.report.html.parts import section
from activity_cli.report.html.strips import Strip
from activity_cli.report.terminal.elements import clock

_NARROWEST = 4 / 3
_MISTAKES = "Named wrongly, and surest of it. Labels that are wrong themselves show up here first."
_UNCERTAIN = "The clips whose two best scores are closest, right or wrong."
_TIMELINE = (
    " The curve is the score of each part of the clip read alone, a quarter of it at a time: green "
    "for the true label, {0} for {1}."
)


def mistakes_section(
    answers: Answers, positions: Sequence[int], strips: Mapping[int, Strip]
) -> Markup:
    """The most confident mistakes."""
    title = "Most confident mistakes"
    if not positions:
        return section("mistakes", title, "No clip was named wrongly.")
    lead = _MISTAKES + _about_timeline(answers, "red", "what it was called")
    return section("mistakes", title, lead, _cards(answers, positions, strips))


def uncertain_section(
    answers: Answers, positions: Sequence[int], strips: Mapping[int, Strip]
) -> Markup:
    """The least certain clips."""
    lead = _UNCERTAIN + _about_timeline(answers, "red or grey", "the other one")
    return section("uncertain", "Least certain clips", lead, _cards(answers, positions, strips))


def _about_timeline(answers: Answers, colour: str, label: str) -> str:
    return _TIMELINE.format(colour, label) if answers.orders is not None else ""


def _cards(answers: Answers, positions: Sequence[int], strips: Mapping[int, Strip]) -> Markup:
    cards = [_card(answers, position, strips[position]) for position in positions]
    return tag("div", *cards, class_="cases")


def _card(answers: Answers, position: int, strip: Strip) -> Markup:
    case, scores = answers.cases[position], answers.scores[position]
    parts: list[Content] = [_pictures(strip)]
    piece = ""
    if case.sample.start_seconds is not None or case.sample.end_seconds is not None:
        end = case.start_seconds + case.duration_seconds
        piece = f", {clock(case.start_seconds)} to {clock(end)}"
    status = f" · {case.status}: {case.reason}" if case.reason else ""
    parts.append(tag("p", f"{case.sample.name}{piece}{status}", class_="file"))
    right = bool(answers.is_right[position])
    best = [int(i) for i in np.argsort(-scores, kind="stable")[:3]]
    named = answers.labels[best[0]]
    said: list[Content] = [tag("b", named, class_="right" if right else "wrong")]
    said.append(f" {scores[best[0]]:.3f}")
    said += [f" · {answers.labels[i]} {scores[i]:.3f}" for i in best[1:]]
    if case.named != named:
        said.append(f" · so called {case.named}")
    true = f"true label {case.sample.label}"
    parts.append(tag("p", *said, tag("span", f" — {true}", class_="dim"), class_="said"))
    parts += _timeline(answers, position, best)
    return tag("figure", *parts, class_="case")


def _pictures(strip: Strip) -> Markup:
    if strip.problem:
        return tag("div", f"Cannot be decoded any more: {strip.problem}", class_="gone")
    images = [
        tag("img", src=image, alt=f"at {clock(seconds)}", title=clock(seconds))
        for image, seconds in zip(strip.images, strip.seconds, strict=True)
    ]
    width, height = strip.size
    shape = max(width / height, _NARROWEST)  # those of upright videos would be as high as a page
    return tag("div", *images, class_="strip", style=f"--shape: {shape:.3f}")


def _timeline(answers: Answers, position: int, best: Sequence[int]) -> list[Markup]:
    """What the model says of parts of the clip: the true label, and the best other one."""
    if answers.orders is None:
        return []
    case, target = answers.cases[position], int(answers.targets[position])
    parts = answers.orders.parts[position]  # (W, C)
    other = next(label for label in best if label != target)
    wrong = best[0] == other
    lines = [
        ("wrong" if wrong else "other", answers.labels[other], parts[:, other].tolist()),
        ("right", answers.labels[target], parts[:, target].tolist()),
    ]
    start, end = case.start_seconds, case.start_seconds + case.duration_seconds
    told = f"Scores over time of {answers.labels[target]} and {answers.labels[other]}"
    ends = [tag("span", clock(start)), tag("span", clock(end))]
    return [score_timeline(lines, told), tag("div", *ends, class_="when")]
