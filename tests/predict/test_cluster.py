"""A Ray cluster of several nodes on this machine: the same rows as here, though a node dies."""

import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from activity_cli.errors import SettingsError
from activity_cli.features.extraction import ClipRequest
from activity_cli.predict.cluster import ClusterError, Workers, match_results
from activity_cli.predict.cluster.worker import (
    Identity,
    ScoringWorker,
    WorkerConfig,
    identify,
    read_outcome,
)
from activity_cli.predict.predictor import PredictConfig
from activity_cli.settings import DEFAULT_MODEL
from activity_cli.types import FileResult, Status
from activity_cli.video.decoder_pool import Decoders
from tests.media import plain_pictures, write_video
from tests.processes import PATIENCE_SECONDS, limit_memory_of_workers, stop_once
from tests.ray_nodes import ROOT, Nodes
from tests.workplace import Workplace as SharedWorkplace

needs_ray = "needs the extra cluster: pip install 'activity-cli[cluster]'"
pytest.importorskip("ray", reason=needs_ray)
pyarrow = pytest.importorskip("pyarrow", reason=needs_ray)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


class Workplace:
    """A folder with 24 drawn clips, 3 odd files, and commands that run there."""

    def __init__(self, folder: Path, drawn: Path, cache: Path, ray: str) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if "USAGE_STATS" not in name},
            "ACTIVITY_CACHE_DIR": str(cache),
            "RAY_TMPDIR": ray,
            "PYTHONPATH": str(ROOT),
        }
        for clip in drawn.rglob("*_00[0-7].mp4"):
            (folder / "clips" / clip.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, folder / "clips" / clip.parent.name)
        clips = sorted((folder / "clips").rglob("*.mp4"))
        (folder / "clips" / "empty.mp4").touch()
        (folder / "clips" / "no\udcfftext.mp4").write_bytes(clips[0].read_bytes()[:-3000])
        (folder / "clips" / "gone.mp4").symlink_to("nowhere")

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "activity_cli", "predict", "--model", DEFAULT_MODEL, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int) -> str:
        return self.finish(self.start(*arguments), code=code)

    def finish(self, process: "subprocess.Popen[str]", *, code: int) -> str:
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == code, f"{process.returncode}\n{stdout}\n{stderr}"
        assert "Traceback" not in stderr
        assert not stdout  # nothing but results belongs there
        return stderr

    def num_lines(self, name: str) -> int:
        path = self.folder / name
        return len(path.read_bytes().splitlines()) if path.exists() else 0


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory, shared: SharedWorkplace, prepared: Path
) -> Iterator[Workplace]:
    # `auto` finds no cluster of others, even one that died and has left its address. Ray's names
    # of sockets are so long that they have no room below pytest's folder.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as ray:
        folder = tmp_path_factory.mktemp("cluster")
        yield Workplace(folder, shared.folder / "clips", prepared, ray)


@pytest.fixture(scope="module")
def nodes(workplace: Workplace) -> Iterator[Nodes]:
    with Nodes(workplace.environment) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def local(workplace: Workplace) -> Path:
    """The rows of one machine."""
    workplace.run("clips", "--output", "local.csv", "--no-cache", code=3)
    return workplace.folder / "local.csv"


# Before the tests that start nodes: `auto` would find these.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "left_by_a_head", "message"),
    [
        ("127.0.0.1:1", "", "There is no Ray cluster at 127.0.0.1:1"),
        ("auto", "", "No Ray cluster is running on this machine"),
        # Ray itself would try to reach a head that was killed for minutes.
        ("auto", "127.0.0.1:1", "There is no Ray cluster at 127.0.0.1:1"),
    ],
)
def test_a_cluster_that_is_not_there_is_an_error_with_what_to_type(
    workplace: Workplace, address: str, left_by_a_head: str, message: str
) -> None:
    place = Path(workplace.environment["RAY_TMPDIR"], "ray", "ray_current_cluster")
    place.parent.mkdir(exist_ok=True)
    place.write_text(left_by_a_head)
    stderr = workplace.run("clips", "--cluster", address, code=1)

    assert message in stderr
    assert "ray start --head" in stderr
    assert "--cluster local" in stderr


@pytest.mark.slow
def test_a_node_that_dies_costs_no_row_and_doubles_none(
    workplace: Workplace, nodes: Nodes, local: Path
) -> None:
    expected = sorted(local.read_bytes().splitlines())
    assert len(expected) == 28  # 24 clips, 3 odd ones, the header

    arguments = ("clips", "--output", "cluster.csv", "--no-cache")
    run = workplace.start(*arguments, "--cluster", nodes.address)
    stop_once(run, lambda: workplace.num_lines("cluster.csv") >= 3 and bool(nodes.workers_of(0)))
    nodes.kill(0)  # while it is at work
    assert workplace.num_lines("cluster.csv") < 28, "the node must die during the work"
    run.send_signal(signal.SIGCONT)
    said = workplace.finish(run, code=3)

    assert sorted((workplace.folder / "cluster.csv").read_bytes().splitlines()) == expected
    assert "ray" not in said.lower()  # its own messages stay in its own files
    assert "0 to score" in workplace.run(*arguments, code=3)  # here all is done as well
    assert sorted((workplace.folder / "cluster.csv").read_bytes().splitlines()) == expected


@pytest.mark.slow
def test_ray_reports_usage_to_nobody(workplace: Workplace, nodes: Nodes) -> None:
    assert not [name for name in workplace.environment if "USAGE_STATS" in name]
    assert nodes.reports_usage is False


@pytest.mark.slow
def test_ctrl_c_keeps_rows_and_another_machine_goes_on(
    workplace: Workplace, nodes: Nodes, local: Path
) -> None:
    arguments = ("clips", "--output", "broken.jsonl", "--no-cache", "--all-scores", "--top-k", "1")
    run = workplace.start(*arguments, "--cluster", nodes.address)
    stop_once(run, lambda: workplace.num_lines("broken.jsonl") >= 2)
    run.send_signal(signal.SIGINT)
    run.send_signal(signal.SIGCONT)
    workplace.finish(run, code=130)
    done = workplace.num_lines("broken.jsonl")
    assert 2 <= done < 27

    workplace.run(*arguments, code=3)

    lines = (workplace.folder / "broken.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    paths = [row["path"] for row in rows]
    assert len(paths) == len(set(paths)) == 27
    with local.open(errors="surrogateescape", newline="") as file:
        expected = {row["path"]: row["score"] for row in csv.DictReader(file)}
    assert {row["path"]: str(row["score"] or "") for row in rows} == expected


def requests_of(*names: str) -> list[ClipRequest]:
    return [ClipRequest(path=Path(name)) for name in names]


def test_a_result_that_comes_twice_counts_once_and_one_that_does_not_come_is_missed() -> None:
    def sent(index: int) -> tuple[int, bytes]:
        result = FileResult(path=f"/there/{index}", status=Status.MISSING, reason="gone")
        return index, pickle.dumps(("node", result))

    requests = requests_of("a.mp4", "b.mp4", "c.mp4")
    twice = [sent(2), sent(0), sent(2), sent(1), sent(0)]

    assert [r.path for r in match_results(requests, twice)] == ["c.mp4", "a.mp4", "b.mp4"]
    kept: list[str] = []
    with pytest.raises(ClusterError, match=r"1 of 3 files have no row.*b\.mp4"):
        kept.extend(r.path for r in match_results(requests, [sent(0), sent(2)]))


def test_a_machine_that_does_not_see_the_files_is_an_error_and_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    result = FileResult(path=str(path), status=Status.MISSING, reason="no file")
    sent = [(0, pickle.dumps(("node7", result)))]

    assert next(match_results(requests_of(str(path)), sent)).status is Status.MISSING
    path.touch()
    with pytest.raises(ClusterError, match=r"node7 does not find .*a\.mp4, which is here"):
        next(match_results(requests_of(str(path)), sent))


def table_of(*names: str) -> Any:
    contents = [pickle.dumps(request) for request in requests_of(*names)]
    return pyarrow.table({"index": list(range(len(names))), "request": contents})


@pytest.fixture(scope="module")
def config(prepared: Path) -> WorkerConfig:
    predict = PredictConfig(
        engine="openvino",
        precision="fp32",
        cache_dir=prepared,
        use_cache=False,
        decoders=Decoders(num_workers=1),
    )
    return WorkerConfig(model=DEFAULT_MODEL, predict=predict)


@pytest.fixture(scope="module")
def identity(config: WorkerConfig) -> Identity:
    found: Identity = read_outcome(identify(config))
    return found


def test_a_worker_that_computes_something_else_is_an_error(
    config: WorkerConfig, identity: Identity
) -> None:
    others = {
        "engine": replace(identity, provenance={**identity.provenance, "engine": "torch-cuda"}),
        "version of activity": replace(identity, version="0.0"),
    }

    for name, expected in others.items():
        table = ScoringWorker(config, expected)(table_of("gone.mp4"))
        with pytest.raises(SettingsError, match=f"has another {name} than"):
            read_outcome(table["outcome"][0].as_py())


@pytest.mark.slow
def test_an_error_that_a_file_causes_in_a_worker_costs_its_own_row(
    tmp_path: Path, config: WorkerConfig, identity: Identity
) -> None:
    clip = str(write_video(tmp_path / "clip.mp4", plain_pictures(20), fps=10))
    huge = write_video(tmp_path / "huge.avi", plain_pictures(2, (9000, 9000)), fps=10)
    worker = ScoringWorker(config, identity)

    def statuses(*names: str) -> list[Status]:
        sent = worker(table_of(*names))["outcome"].to_pylist()
        return [read_outcome(content)[1].status for content in sent]

    assert statuses(clip) == ["ok"]
    limit_memory_of_workers(480 * 2**20)  # two frames of the huge video need 486 MB
    assert statuses(str(huge), clip, "gone.mp4") == ["crashed", "ok", "missing"]


@pytest.mark.slow
def test_an_engine_keeps_to_its_threads_and_says_the_same(workplace: Workplace) -> None:
    # A process for each: OpenVINO has one Core in a process, which knows its threads.
    script = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from activity_cli.model.folder import load_model\n"
        "from activity_cli.features.engines.choice import choose_engine\n"
        "from activity_cli.features.engines.choice import load_extractor\n"
        "from activity_cli.common.processes import limit_threads\n"
        "limit_threads(int(sys.argv[1]))\n"
        f"backbone = load_model('{DEFAULT_MODEL}').description.backbone\n"
        "engine = choose_engine('openvino')\n"
        "extractor = load_extractor(backbone, engine, cache_dir=Path(sys.argv[2]))\n"
        "size = backbone.frame_size\n"
        "frames = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), np.uint8)\n"
        "print(len(extractor._queue), extractor.extract(frames).tobytes().hex())\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script, str(count), workplace.environment["ACTIVITY_CACHE_DIR"]],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for count in (1, 2, 1)  # the last one takes what the second has compiled for the cache
    ]

    assert [threads for threads, _ in said] == ["1", "2", "1"]
    assert len({features for _, features in said}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("text", ["0", "3,2", "many", ",2", "1,2,3"])
def test_a_number_of_workers_is_one_or_a_range(text: str) -> None:
    assert Workers.parse_count("4") == (4, 4)
    assert Workers.parse_count("2,8") == (2, 8)
    with pytest.raises(SettingsError):
        Workers.parse_count(text)
