"""What README and docs show works: commands are parsed by the program, some run; Python runs."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import groupby
from pathlib import Path

import pytest
import typer

from activity_cli.cli.app import COMMANDS, app, load_command
from tests.workplace import Workplace

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GROUP = typer.Context(typer.main.get_command(app), info_name="activity")
SNIPPET = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
OPERATORS = {"|", "||", "&&", ">", ";"}
CHEAP = {"settings", "cache", "help", "--version", "--help"}
"""Commands that a test runs; of others only those with --dry-run, --help or --help-all."""
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def snippets(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for indent, found, text in SNIPPET.findall(page.read_text(encoding="utf-8")):
            if found == language:
                yield page, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def shell_commands() -> Iterator[tuple[Path, list[str]]]:
    """Each program with its arguments; files that get the output are left out."""
    for page, text in snippets("sh"):
        for line in text.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&>;")
            lexer.whitespace_split = True
            before = ""
            for is_operator, words in groupby(lexer, key=OPERATORS.__contains__):
                if is_operator:
                    before = list(words)[-1]
                elif before != ">":
                    yield page, list(words)


OURS = [(page, words[1:]) for page, words in shell_commands() if words[0] == "activity"]
"""Arguments of every call of the program in README and docs."""


@pytest.mark.parametrize(
    ("page", "words"), OURS, ids=[f"{page.stem}: {' '.join(words)}" for page, words in OURS]
)
def test_the_program_takes_every_command_as_written(page: Path, words: list[str]) -> None:
    name, *arguments = words
    if name.startswith("-"):
        assert name in {flag for param in GROUP.command.params for flag in param.opts} | {"--help"}
        return
    command = load_command(name)
    for param in command.params:
        param.callback = None  # of --settings and --resume: reads the file

    if {"--help", "--help-all"} & set(arguments):
        return
    parsed = command.make_context(name, arguments, parent=GROUP)

    assert parsed.params, page


def test_pages_have_enough_to_test() -> None:
    assert len(OURS) >= 80
    assert {words[0] for _, words in OURS} >= {
        name for names in COMMANDS.values() for name in names
    }
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_other_programs_are_used_as_the_project_offers_them() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    extras = {
        name
        for one in re.findall(r"(?:activity-cli|\.)\[([\w,]+)\]", text)
        for name in one.split(",")
    }
    modules = set(re.findall(r"python -m (tests\.[\w.]+)", text))

    assert extras
    assert extras <= set(EXTRAS)
    assert modules
    for module in modules:
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
    for target in re.findall(r"`make ([\w-]+)`", text):
        assert f"\n{target}:" in makefile


def test_cheap_commands_run(shared: Workplace, workplace: Workplace) -> None:
    (workplace.folder / "footage").mkdir()
    clip = next((shared.folder / "clips" / "wave").glob("*.mp4"))
    (workplace.folder / "footage" / "1.mp4").symlink_to(clip)
    ran = 0
    for _, arguments in OURS:
        is_dry = arguments[0] == "predict" and "--dry-run" in arguments
        if (arguments[0] in CHEAP and "--clear" not in arguments) or is_dry:
            assert workplace.run(*arguments).stdout
            ran += 1

    assert ran >= 5


@pytest.mark.parametrize(
    "page", sorted({page for page, _ in snippets("python")}), ids=lambda p: p.stem
)
def test_python_runs(shared: Workplace, workplace: Workplace, page: Path) -> None:
    program = "".join(text for other, text in snippets("python") if other == page)
    clip = next((shared.folder / "clips" / "wave").glob("*.mp4"))
    (workplace.folder / "footage").mkdir()
    for name in ("video.mp4", "long.mp4", "footage/1.mp4", "footage/2.mp4"):
        (workplace.folder / name).symlink_to(clip)
    (workplace.folder / "footage" / "bad.mp4").write_text("no video")

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=workplace.folder,
        env={**workplace.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, ""), page
    assert "bad.mp4 unreadable" in done.stdout


def test_links_lead_to_files_and_headings() -> None:
    problems = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            if not target.is_file() or (anchor and anchor not in headings(target)):
                problems.append(f"{page.name}: {link}")

    assert not problems


def headings(page: Path) -> set[str]:
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


def test_the_reference_is_that_of_the_program() -> None:
    spec = spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)

    is_same = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == module.reference()
    assert is_same, "run: python docs/reference.py"
