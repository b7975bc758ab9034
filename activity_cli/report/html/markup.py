"""HTML and SVG from Python, with everything escaped that is not markup already."""

import html
from collections.abc import Iterable

from activity_cli.report.terminal.elements import printable

_VOID = frozenset({"br", "img", "line", "rect", "circle", "path", "meta"})


class Markup(str):
    """Text that is HTML and is not escaped again. Only `tag` and `join` make it from values."""

    __slots__ = ()


Content = str | int | Markup


def text(value: object) -> Markup:
    """A value as text: what has a meaning in HTML, or cannot be printed, is escaped."""
    return value if isinstance(value, Markup) else Markup(html.escape(printable(str(value))))


def tag(name: str, *content: Content, **attributes: object) -> Markup:
    """An element. `class_` is class, `stroke_width` is stroke-width; None leaves one out."""
    parts = [
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    opening = f"<{name}{''.join(parts)}"
    if name in _VOID and not content:
        return Markup(f"{opening}/>")
    return Markup(f"{opening}>{join(content)}</{name}>")


def join(parts: Iterable[Content]) -> Markup:
    """One after the other."""
    return Markup("".join(map(text, parts)))


def prose(words: str) -> Markup:
    """A sentence in which what stands between backticks is code."""
    parts = words.split("`")
    return join(tag("code", part) if i % 2 else part for i, part in enumerate(parts))


def _attribute(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return text(value)
