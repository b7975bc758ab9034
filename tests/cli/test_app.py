"""The command line itself: help, errors and their exit codes, closed pipes, Ctrl-C."""

import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest

from activity_cli.cli.app import COMMANDS, load_command
from activity_cli.cli.help import TOPICS
from tests.media import noise_pictures, write_video
from tests.processes import PATIENCE_SECONDS
from tests.workplace import Workplace

SUMMARIES = {name: text for commands in COMMANDS.values() for name, text in commands.items()}


@pytest.fixture
def empty(tmp_path: Path, prepared: Path) -> Workplace:
    """An empty folder."""
    return Workplace(tmp_path, prepared)


@pytest.fixture(scope="module")
def help_texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("help")
    workplace = Workplace(folder, folder)
    return {command: workplace.run(command, "--help").stdout for command in SUMMARIES}


@pytest.mark.parametrize("command", SUMMARIES)
def test_help_fits_a_screen_and_help_all_has_every_option(
    help_texts: dict[str, str], command: str, empty: Workplace
) -> None:
    everything = empty.run(command, "--help-all").stdout
    parsed = {
        flag
        for param in load_command(command).params
        if param.param_type_name == "option" and param.name != "help_all"
        for flag in param.opts
    }
    assert parsed <= flags_in(everything)
    assert len(help_texts[command].splitlines()) <= (45 if command == "train" else 50)
    assert all(len(line) <= 80 for line in everything.splitlines())
    # Where all options are in --help, nothing else is mentioned.
    assert ("--help-all" in help_texts[command]) == (not parsed <= flags_in(help_texts[command]))


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[\w-]+", text.replace("[no-]", "")))


def test_help_names_topics_and_commands(empty: Workplace, help_texts: dict[str, str]) -> None:
    assert "exit-codes" in empty.run("help").stdout
    assert "finished, but some files have no score" in empty.run("help", "exit-codes").stdout
    assert empty.run("help", "train").stdout == help_texts["train"]
    assert "Topics: exit-codes" in empty.run("help", "fly", code=2).stderr
    assert all(len(line) <= 78 for _, text in TOPICS.values() for line in text.splitlines())


def test_the_help_lists_every_command_in_its_panel(empty: Workplace) -> None:
    shown = empty.run("--help").stdout

    for panel, commands in COMMANDS.items():
        assert f"{panel}:" in shown
        for command in commands:
            assert re.search(rf"^  {command} ", shown, re.M)


@pytest.mark.parametrize("command", SUMMARIES)
def test_every_command_has_its_summary_and_an_example(
    help_texts: dict[str, str], command: str
) -> None:
    shown = " ".join(help_texts[command].split())

    assert SUMMARIES[command] in shown
    assert f"Example: activity {command}" in shown


def test_help_takes_at_most_twice_as_long_as_the_libraries_that_print_it() -> None:
    # CPU time, the best of several, in turns: other programs must not decide this.
    commands = {"import typer, rich": ["-c", "import typer, rich"], "help": HELP}
    times = {name: [cpu_seconds(command) for _ in range(6)] for name, command in commands.items()}

    assert min(times["help"]) < 2 * min(times["import typer, rich"])


HELP = ["-m", "activity_cli", "--help"]


def cpu_seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("command", ["", "predict", "train"])
def test_help_loads_nothing_heavy(command: str) -> None:
    script = (
        "import sys; sys.argv = ['activity', *sys.argv[1:], '--help']\n"
        "from activity_cli.cli import run\n"
        "code = run()\n"
        "heavy = {'torch', 'torchvision', 'cv2', 'openvino', 'numpy', 'sklearn', 'matplotlib'}\n"
        "heavy |= {'pydantic', 'importlib.metadata', 'rich.console'}\n"
        "print(code, heavy & set(sys.modules), file=sys.stderr)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, *command.split()],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == "0 set()\n"


def test_augment_lists_all_kinds(empty: Workplace) -> None:
    kinds = ", ".join(import_module("activity_cli.settings").AUGMENTATIONS)

    assert f": {kinds}." in " ".join(empty.run("train", "--help-all").stdout.split())


USAGE_ERRORS = [
    (["train", "single", "--dropout", "2"], "dropout must be below 1, got 2", ""),
    (["predict", "clip.mp4", "--top-k", "0"], "top-k", ""),
    (["predict", "clip.mp4", "--device", "tpu"], "no device 'tpu'", "cuda"),
    (["predict", "clip.mp4", "--shard", "3/2"], "is not a shard", "1/3"),
    (["predict", "clip.mp4", "--speed"], "No such option", "predict -h"),
    (["crossval", "single", "--conv-channels", "a"], "'a' is not a list of numbers", "8,16"),
    (["train"], "Missing argument 'DATA'", "Example: activity train clips"),
    (["merge", "a.csv"], "Missing option '--output'", "Example: activity merge"),
    (["compare", "clip.mp4"], "two runs or more", "another run"),
    (["fly"], "No such command 'fly'", ""),
]
OTHER_ERRORS = [
    (["train", "nothing"], "nothing does not exist", "folder of labelled clips"),
    (["train", "void"], "void has no videos", "Put the clips of each action"),
    (["train", "one"], "one label only", "Add clips"),
    (["train", "single"], "only 1 clip", "Add clips"),
    (["train", "labels.csv"], "line 3", "there is no file"),
    (["train", "single", "--backbone", "resnet19"], "no backbone 'resnet19'", "resnet18"),
    (["predict", "clip.mp4", "--model", "nobody"], "no model 'nobody'", "surveillance-fight"),
    (["predict", "void"], "void has no videos", ".mp4"),
    (["predict", "no*.mp4"], "matches no videos", "pattern"),
    (["predict", "clip.mp4", "--output", "x.docx"], "format .docx is not supported", ".jsonl"),
    (["predict", "clip.mp4", "--output", "clip.mp4/x.csv"], "Cannot write", "--output"),
    (["export", "nobody"], "no model 'nobody'", "surveillance-fight"),
    (["export", "surveillance-fight", "--precision", "bf16"], "bf16", "predict --precision"),
    (["crossval", "single", "--folds", "3"], "too few for 3 folds", "add clips"),
    (["crossval", "single", "--fold-column", "site"], "no column site", "column"),
    (["evaluate", "surveillance-fight", "one"], "no label 'wave'", "fight"),
]


@pytest.mark.parametrize(
    ("arguments", "message", "step", "code"),
    [(*error, 2) for error in USAGE_ERRORS] + [(*error, 1) for error in OTHER_ERRORS],
)
def test_an_error_is_one_line_with_the_next_step(
    empty: Workplace, arguments: Sequence[str], message: str, step: str, code: int
) -> None:
    (empty.folder / "void").mkdir()
    for clip in ("clip.mp4", "one/wave/1.mp4", "single/wave/1.mp4", "single/walk/1.mp4"):
        write_video(empty.folder / clip, noise_pictures(20), fps=10)
    for number in (2, 3):
        again = empty.folder / f"single/walk/{number}.mp4"
        write_video(again, noise_pictures(20, seed=number), fps=10)
    (empty.folder / "labels.csv").write_bytes(
        "\ufeffpath,label\r\nclip.mp4,wave\r\ngone.mp4,walk\r\n".encode()
    )

    done = empty.run(*arguments, code=code)

    printed = " ".join(done.stderr.split())
    assert message in printed
    assert step in printed
    assert not done.stdout
    assert not (empty.folder / "x.docx").exists()
    assert "docx" not in message or "Preparing" not in printed


def test_wrong_input_is_reported_before_anything_heavy_is_loaded(empty: Workplace) -> None:
    for clip in ("clips/wave/1.mp4", "clips/walk/1.mp4"):
        write_video(empty.folder / clip, noise_pictures(2), fps=10)
    (empty.folder / "void").mkdir()
    wrong = (
        ["predict", "clips/wave/2.mp4"],
        ["predict", "void"],
        ["train", "void"],
        ["train", "clips", "--backbone", "resnet51"],
        ["crossval", "clips", "--background-label", "wavee"],
        ["evaluate", "surveillance-fihgt", "clips"],
    )
    script = (
        "import sys; from activity_cli import cli\n"
        f"for one in {wrong}:\n    sys.argv = ['activity', *one]; cli.run()\n"
        "sys.exit(', '.join({'torch', 'torchvision', 'openvino'} & set(sys.modules)) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=empty.folder,
        env=empty.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr.splitlines()[-1]
    assert "2.mp4  missing" in done.stdout
    assert "Did you mean clips/wave/1.mp4?" in done.stdout
    for meant in ("resnet50", "wave?", "surveillance-fight?"):
        assert f"Did you mean {meant}" in done.stderr


@pytest.mark.parametrize("command", [["settings"], ["--help"], ["train", "--help"]])
def test_a_closed_pipe_ends_a_command_quietly(empty: Workplace, command: list[str]) -> None:
    process = empty.start(*command)
    assert process.stdout is not None
    process.stdout.close()  # before anything is written: Python itself would complain at its end

    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)

    assert (process.returncode, stderr) == (1, "")


@pytest.mark.parametrize(
    "module", ["activity_cli.cli.app", "typer", "activity_cli.cli.predict", "numpy", "safetensors"]
)
def test_ctrl_c_while_a_module_is_imported_is_one_line(empty: Workplace, module: str) -> None:
    write_video(empty.folder / "clip.mp4", noise_pictures(20), fps=10)
    script = (
        "import signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == sys.argv[-1]: signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from activity_cli.cli import main\n"
        "sys.argv = ['activity', 'predict', 'clip.mp4', '--output', sys.argv[-1]]\n"
        "main()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, module],
        cwd=empty.folder,
        env=empty.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 130
    assert done.stderr.splitlines() == [
        "Interrupted. Finished work is kept. Run the same command again to resume."
    ]
