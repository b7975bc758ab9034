"""Files from others end in success or one line of an error: they run no code and take no memory.

`ACTIVITY_FUZZ=2000 python -m pytest tests/test_trust.py -k fuzz` tries more examples than here.
"""

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest

from activity_cli.cli.settings import read_below, settings_keys
from activity_cli.common.settings_file import write_settings
from activity_cli.common.tables import read_table, write_table
from activity_cli.data.loading import load_dataset
from activity_cli.errors import ActivityError, DataError, ModelError, VideoError
from activity_cli.model.folder import MODEL_FILE, WEIGHTS_FILE, load_model, shipped_models
from activity_cli.predict.results import RowSchema, encode_row
from activity_cli.predict.results.journal import Entry, entry_line, read_entries, read_header
from activity_cli.predict.results.result_reader import open_stored
from activity_cli.types import FileState, Segment
from activity_cli.video.reader import VideoReader
from tests.workplace import Workplace

hypothesis = pytest.importorskip("hypothesis", reason="needs hypothesis")
st: Any = hypothesis.strategies
NUM_EXAMPLES = int(os.environ.get("ACTIVITY_FUZZ", "100"))
HOW: Any = hypothesis.settings(
    max_examples=NUM_EXAMPLES,
    deadline=None,
    database=None,
    derandomize="ACTIVITY_FUZZ" not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck),
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


def fuzz(check: Callable[..., None], *strategies: Any) -> None:
    """Run a check on many examples."""
    HOW(hypothesis.given(*strategies)(check))()


def places(document: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in a JSON document, as keys and positions from its root."""
    yield before
    keys: Any = document if isinstance(document, dict) else ()
    for key in range(len(document)) if isinstance(document, list) else keys:
        yield from places(document[key], (*before, key))


def replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copy = document.copy()
    copy[place[0]] = replaced(document[place[0]], place[1:], value)
    return copy


def damaged_json(document: Any) -> Any:
    """A document of which a part is another one, or whose text is damaged."""
    part = st.builds(
        lambda place, value: json.dumps(replaced(document, place, value)).encode(),
        st.sampled_from(list(places(document))),
        VALUES,
    )
    return part | damaged_bytes(json.dumps(document).encode())


def damaged_bytes(content: bytes) -> Any:
    """A content of which a stretch is another one; also nothing, and deep nesting."""
    return st.builds(
        lambda start, length, new: content[:start] + new + content[start + length :],
        st.integers(0, len(content)),
        st.sampled_from([0, 1, 5, 100]),
        st.binary(max_size=6) | st.sampled_from([b"[" * 5000, b'"', b"\n", b"\0", b"9" * 5000]),
    ) | st.sampled_from([b"", b"[" * 10_000, b"\xff\xfe", b"{}", b"[]"])


def ends_in_one_line(read: Callable[[], object]) -> None:
    """Success, or an error that the command line prints in one line; all else fails the test."""
    with suppress(ActivityError):
        read()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the shipped model."""
    return Path(shutil.copytree(shipped_models()[0], tmp_path / "model"))


def test_fuzz_model_json(model: Path) -> None:
    document = json.loads((model / MODEL_FILE).read_text(encoding="utf-8"))

    def check(content: bytes) -> None:
        (model / MODEL_FILE).write_bytes(content)
        ends_in_one_line(lambda: load_model(model))

    fuzz(check, damaged_json(document))


CELLS = st.text(max_size=12) | st.sampled_from(["path", "label", "start", "end", "1", "-1", "nan"])


ROWS = st.lists(st.lists(CELLS, max_size=5).map(",".join), max_size=5).map("\n".join)
CSV = b"path,label,start,end,group\na.mp4,wave,0,2,x\na.mp4,run,2,4,x\nb.mp4,run,,,\n"


def test_fuzz_labels_csv(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        ends_in_one_line(lambda: load_dataset(path, allow_missing=True))

    rows = ROWS.map(lambda text: f"path,label,start,end\n{text}".encode("utf-8", "surrogatepass"))
    fuzz(check, rows | damaged_bytes(CSV))


TOML = st.builds(
    lambda key, value: f"[{key.table}]\n{key.name} = {json.dumps(value)}\n".encode(),
    st.sampled_from(settings_keys()),
    VALUES,
)
DEFAULTS = write_settings(settings_keys(), {key.name: key.default for key in settings_keys()})


def test_fuzz_settings_toml(tmp_path: Path) -> None:
    path, context = tmp_path / "settings.toml", cast(Any, SimpleNamespace(default_map=None))

    def check(content: bytes) -> None:
        path.write_bytes(content)
        ends_in_one_line(lambda: read_below(context, path))

    fuzz(check, TOML | damaged_bytes(DEFAULTS.encode()))


SCHEMA = RowSchema(top_k=2)
ROW: dict[str, Any] = dict.fromkeys(SCHEMA.columns) | {
    "path": "a.mp4",
    "status": "ok",
    "reason": "",
    "label": "wave",
    "score": 0.9,
    "frames": 12,
}
ENTRY = Entry(
    path="a.mp4",
    state=FileState(12, 34),
    row=ROW,
    segments=(Segment(start_seconds=0, end_seconds=2, label="wave", mean_score=0.9, peak_score=1),),
)
HEADER = {
    "format": 1,
    "made_with": {"model": "gym", "columns": list(SCHEMA.columns)},
    "outputs": [],
}


def test_fuzz_journal(tmp_path: Path) -> None:
    results, path = tmp_path / "scores.csv", tmp_path / "scores.csv.journal"
    results.write_bytes(b"")

    def check(header: bytes, line: bytes) -> None:
        whole = json.dumps(HEADER).encode()
        for content in (header + b"\n" + entry_line(ENTRY), whole + b"\n" + line + b"\n"):
            path.write_bytes(content)
            ends_in_one_line(lambda: (read_header(path), list(read_entries(path))))
            ends_in_one_line(lambda: list(open_stored(results).entries()))

    fuzz(check, damaged_json(HEADER), damaged_json(json.loads(entry_line(ENTRY))))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_fuzz_results(suffix: str, tmp_path: Path) -> None:
    lines = encode_row(suffix, SCHEMA.columns, ROW)
    if suffix == ".csv":
        lines = ",".join(SCHEMA.columns).encode() + b"\n" + lines
    path = tmp_path / f"scores{suffix}"

    def check(content: bytes, row: bytes) -> None:
        for one in (content, row + b"\n"):
            path.write_bytes(one)
            ends_in_one_line(lambda: list(open_stored(path).entries()))

    fuzz(check, damaged_bytes(lines), damaged_json(ROW))


def test_a_header_that_claims_gigabytes_takes_none(model: Path) -> None:
    claim = {"w": {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]}}
    header = json.dumps(claim).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(2048)
    (model / WEIGHTS_FILE).write_bytes(content)
    document = json.loads((model / MODEL_FILE).read_text(encoding="utf-8"))
    document["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (model / MODEL_FILE).write_text(json.dumps(document), encoding="utf-8")

    with pytest.raises(ModelError, match="cannot be read"):
        load_model(model)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("labels", 0), "x" * 2**20),
        (("network", "hidden_size"), 10**9),
        (("clip", "frame_size"), 100_000),
        (("num_members",), 10**9),
    ],
)
def test_sizes_in_model_json_are_bounded(model: Path, place: tuple[Any, ...], value: Any) -> None:
    document = json.loads((model / MODEL_FILE).read_text(encoding="utf-8"))
    document.setdefault("num_members", 1)
    changed = json.dumps(replaced(document, place, value))
    (model / MODEL_FILE).write_text(changed, encoding="utf-8")

    with pytest.raises(ModelError) as caught:
        load_model(model)
    assert len(caught.value.message) < 1000


def test_a_label_of_a_megabyte_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(f"path,label\na.mp4,{'x' * 100_000}\n", encoding="utf-8")

    with pytest.raises(DataError, match=r"line 2, column label: the label has 100,000 characters"):
        load_dataset(tmp_path / "labels.csv", allow_missing=True)


@pytest.mark.parametrize(
    ("side", "message"), [(100_000, "damaged"), (12_000, "12000 x 12000 pixels")]
)
def test_a_picture_that_claims_gigabytes_is_refused(
    side: int, message: str, tmp_path: Path
) -> None:
    content = bytearray(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "huge.png").write_bytes(content)

    with pytest.raises(VideoError, match=message):
        VideoReader(tmp_path / "huge.png")


def test_names_cannot_move_the_cursor_or_change_colours(workplace: Workplace) -> None:
    name = "\x1b[31m[bold red]evil\x07.mp4"
    try:
        (workplace.folder / name).write_bytes(b"\0" * 100)
    except OSError:
        pytest.skip("this file system has no such names")

    planned = workplace.run("predict", name, "--dry-run")
    missing = workplace.run("train", f"{name}/nothing", code=1)

    for printed in (planned.stdout, missing.stderr):
        assert r"\x1b[31m[bold red]evil\x07.mp4" in printed
        assert "\x1b" not in printed


@pytest.mark.parametrize(
    "text", ["=1+2", "@x", "+a", "-a", "'=1", "''-b", "-1", "plain", "'quoted"]
)
def test_no_cell_of_a_csv_is_a_formula(text: str, tmp_path: Path) -> None:
    table, results = tmp_path / "table.csv", tmp_path / "scores.csv"
    write_table(table, ["path", "label"], [["a.mp4", text]])
    row = ROW | {"label": text, "path": text}
    header = ",".join(SCHEMA.columns).encode() + b"\n"
    results.write_bytes(header + encode_row(".csv", SCHEMA.columns, row))

    for cell in (
        table.read_text().splitlines()[1].partition(",")[2],
        results.read_text().splitlines()[1],
    ):
        assert cell.startswith("-1") or cell[0] not in "=+-@"
    assert read_table(table, required=["path"]).rows[0].values["label"] == text
    (entry,) = open_stored(results).entries()
    assert (entry.path, entry.row["label"]) == (text, text)
