"""Settings files: what is wrong is named, flags win, and a run's own file makes it again."""

import inspect
import json
import tomllib
from collections.abc import Callable
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from activity_cli.cli.app import app
from activity_cli.cli.crossval import crossval
from activity_cli.cli.settings import TABLES, settings_keys
from activity_cli.cli.train import train
from activity_cli.common.settings_file import read_settings, write_settings
from activity_cli.errors import SettingsError
from activity_cli.setting_fields import Option
from tests.workplace import Workplace

KEYS = settings_keys()


def test_the_defaults_as_a_file_are_read_back_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(Workplace(tmp_path, tmp_path / "cache").run("settings").stdout)

    read = read_settings(path, KEYS)

    assert read == {key.name: key.default for key in KEYS if key.default is not None}
    assert {"epochs", "dropout", "val_fraction", "fold_column"} <= {key.name for key in KEYS}


@pytest.mark.parametrize("command", [train, crossval])
def test_every_group_of_options_is_a_table(command: Callable[..., None]) -> None:
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    groups = {p.name: p.annotation for p in parameters if is_dataclass(p.annotation)}

    groups.pop("run", None)  # where one run is kept, and for how long it trains
    assert groups.items() <= TABLES.items()


def test_any_text_survives(tmp_path: Path) -> None:
    names = Option(table="labels", name="names", kind=list[str] | None, text="Names.")
    odd = ['a "b" \\ c', "größe 日本", "two\nlines\ttab", "[red] # no comment", "\x7f\u2028"]
    path = tmp_path / "a.toml"
    path.write_text(write_settings([names], {"names": odd}), encoding="utf-8")

    assert read_settings(path, [names]) == {"names": odd}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[training]\nepoch = 3", "there is no setting [training] epoch; did you mean [training]"),
        ("[trainning]\nepochs = 3", "[trainning] epochs; did you mean [training] epochs?"),
        ("learning-rate = 0.1", "no setting learning-rate; did you mean [training] learning_rate?"),
        ("[training]\nepochs = 3.5", "[training] epochs: 3.5 is not a whole number"),
        ("[training]\nepochs = true", "[training] epochs: true is not a whole number"),
        ("[training]\nepochs = 0", "[training] epochs: it must be at least 1, got 0"),
        ("[network]\ndropout = 1.5", "[network] dropout: it must be below 1, got 1.5"),
        ("[network]\nlayers = 0", "[network] layers: it must be at least 1, got 0"),
        ("[network]\ndropout = nan", "[network] dropout: nan is not a number"),
        ('[clip]\nstreams = "rbg"', "There is no stream 'rbg'"),
        ("[clip]\nframes = 0", "[clip] frames: it must be at least 1, got 0"),
        ("[network]\nbidirectional = 1", "1 is not true or false"),
        ("[clip]\nstreams = rgb", "Invalid value (at line 2"),
        ("training = 3", "there is no setting training"),
    ],
)
def test_a_mistake_is_one_line_with_the_file(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text(content)

    with pytest.raises(SettingsError) as raised:
        app(["train", "nowhere", "--settings", str(path)], standalone_mode=False)

    assert raised.value.message.startswith(str(path))
    assert said in raised.value.message
    assert "\n" not in raised.value.message


def test_files_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text('[clip]\nsteady = false\n[training]\naverage = "none"\nepochs = 3\n')

    assert read_settings(path, KEYS) == {"stabilize": False, "epochs": 3}

    path.write_text('[training]\naverage = "ema"\n')
    with pytest.raises(SettingsError, match=r"\[training\] average is not supported any more"):
        read_settings(path, KEYS)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file") as raised:
        read_settings(tmp_path / "no.toml", KEYS)
    assert "activity settings >" in raised.value.hint


@pytest.mark.slow
def test_a_runs_file_makes_it_again_beside_it_and_flags_win(shared: Workplace) -> None:
    first = shared.folder / "runs" / "first"
    command = ("train", "clips", "--json", "--quiet", "--settings")

    again = json.loads(shared.run(*command, "runs/first", "--name", "first").stdout)
    other = json.loads(shared.run(*command, "runs/first", "--epochs", "2").stdout)

    was = json.loads((first / "metrics.json").read_text())
    assert Path(again["run"]) == Path("runs/first-2")  # nothing is overwritten
    for key in ("accuracy", "log_loss", "confusion", "best_epoch", "calibration"):
        assert again[key] == was[key]
    run = shared.folder / again["run"]
    assert (run / "settings.toml").read_text() == (first / "settings.toml").read_text()
    weights = Path("model") / "weights.safetensors"
    assert (run / weights).read_bytes() == (first / weights).read_bytes()
    written = tomllib.loads((shared.folder / other["run"] / "settings.toml").read_text())
    assert (written["training"]["epochs"], written["training"]["patience"]) == (2, 12)
