"""An annotation file as text, rows, JSON or XML. Only JSON is held in memory as a whole."""

import codecs
import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.parsers import expat

from activity_cli.common.tables import SEPARATORS, read_text
from activity_cli.errors import DataError

_CHUNK_BYTES = 1 << 16
_EXPORT_AGAIN = "The file may be cut off or damaged: export it again."

IsHeader = Callable[[Sequence[str]], bool]
"""Whether a row, in lower case, has the names of a table's columns."""


@dataclass(slots=True)
class Element:
    """An element of an XML file."""

    tag: str
    attributes: Mapping[str, str]
    line: int
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def find(self, path: str) -> Iterator["Element"]:
        """Give the elements below this one on a path of tags: `task/source`."""
        tag, _, rest = path.partition("/")
        for child in self.children:
            if child.tag == tag:
                yield from child.find(rest) if rest else (child,)


@dataclass(frozen=True)
class Source:
    """An annotation file. Errors of reading it are DataErrors."""

    path: Path

    @property
    def stem(self) -> str:
        """The name of the video, for formats that are for one video and do not name it."""
        endings = r"[_.](labels|predictions|deepethogram|cvat)$"
        return re.sub(endings, "", self.path.stem, flags=re.IGNORECASE)

    @property
    def is_readable(self) -> bool:
        """Whether the system lets us read the file."""
        return os.access(self.path, os.R_OK)

    @cached_property
    def head(self) -> str:
        """The first 64 kB as text."""
        try:
            with self.path.open("rb") as file:
                return file.read(_CHUNK_BYTES).decode(self._encoding, "replace")
        except OSError as error:
            problem = f"Cannot read {self.path}: {error.strerror or error}."
            raise DataError(problem, hint="Check the path.") from error

    @cached_property
    def document(self) -> Any:
        """The JSON in the file, None where it is something else."""
        if self.head.lstrip()[:1] not in {"{", "["} or self.first_object:
            return None
        try:
            return json.loads(read_text(self.path))
        except json.JSONDecodeError as error:
            problem = f"{self.path}, line {error.lineno}: the JSON is not complete ({error.msg})."
            raise DataError(problem, hint=_EXPORT_AGAIN) from error
        except RecursionError as error:
            problem = f"{self.path}: the JSON is nested too deeply."
            raise DataError(problem, hint=_EXPORT_AGAIN) from error

    @cached_property
    def first_object(self) -> Mapping[str, Any]:
        """The first line of a file of JSON lines; empty for other files."""
        first, _, rest = self.head.lstrip().partition("\n")
        try:
            found = json.loads(first) if first.startswith("{") else {}
        except json.JSONDecodeError:
            return {}
        is_single = not rest.strip() and self.path.suffix.lower() != ".jsonl"
        return {} if is_single else found

    @cached_property
    def root(self) -> str:
        """Tag of the outermost element of an XML file; empty for other files."""
        found = re.search(r"<([A-Za-z_][\w.-]*)", self.head)
        return found[1] if found and self.head.lstrip().startswith("<") else ""

    def lines(self) -> Iterator[tuple[int, str]]:
        """Give the lines with their numbers, without line ends."""
        with self._opened() as file:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip("\r\n")

    def rows(self, is_header: IsHeader) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Give the rows below a header with their lines, by column names in lower case.

        A row that is too short has empty values.
        """
        separator, columns = self._table(is_header)
        is_below = False
        with self._opened() as file:
            reader = csv.reader(file, delimiter=separator)
            try:
                for fields in reader:
                    values = [value.strip() for value in fields]
                    if is_below and any(values):
                        values += [""] * (len(columns) - len(values))
                        yield reader.line_num, dict(zip(columns, values, strict=False))
                    is_below = is_below or _lower(values) == columns
            except csv.Error as error:
                problem = f"{self.path}, line {reader.line_num}: {error}."
                raise DataError(problem, hint=_EXPORT_AGAIN) from error

    def columns(self, is_header: IsHeader) -> Sequence[str]:
        """Return the names of a table's columns in lower case; none where there is no header."""
        return self._table(is_header)[1]

    def _table(self, is_header: IsHeader) -> tuple[str, Sequence[str]]:
        """Find separator and header: other programs write lines of their own above the header."""
        for separator in SEPARATORS:
            for fields in csv.reader(self.head.splitlines(), delimiter=separator):
                if is_header(names := _lower(fields)):
                    return separator, names
        return ",", ()

    def elements(self) -> Iterator[Element]:
        """Give each child of an XML file's outermost element, complete, one after the other.

        Document types are refused: they can make a small file fill the memory.
        """
        parser = expat.ParserCreate()
        stack: list[Element] = []
        done: list[Element] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            stack.append(Element(tag, attributes, parser.CurrentLineNumber))

        def end(tag: str) -> None:
            del tag
            element = stack.pop()
            if len(stack) == 1:
                done.append(element)
            elif stack:
                stack[-1].children.append(element)

        def text(piece: str) -> None:
            stack[-1].text += piece

        def refuse(*declaration: object) -> None:
            del declaration
            problem = f"{self.path}, line {parser.CurrentLineNumber}: it has a document type."
            raise DataError(problem, hint="Annotation programs write none: remove it.")

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, refuse
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    parser.Parse(chunk)
                    yield from done
                    done.clear()
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            what = expat.ErrorString(error.code)
            problem = f"{self.path}, line {error.lineno}: the XML is not complete ({what})."
            raise DataError(problem, hint=_EXPORT_AGAIN) from error
        yield from done

    @cached_property
    def _encoding(self) -> str:
        with self.path.open("rb") as file:
            start = file.read(2)
        is_utf16 = start in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
        return "utf-16" if is_utf16 else "utf-8-sig"

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with self.path.open(encoding=self._encoding, newline="") as file:
                yield file
        except UnicodeDecodeError as error:
            read_text(self.path)  # raises the error with the line
            problem = f"{self.path} is not UTF-8 text."
            raise DataError(problem, hint="Save the file as UTF-8.") from error


def _lower(fields: Sequence[str]) -> Sequence[str]:
    return [name.strip().lower() for name in fields]
