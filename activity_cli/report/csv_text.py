"""Rows -> CSV as text."""

import csv
import io
from collections.abc import Sequence


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A header and rows; None is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
