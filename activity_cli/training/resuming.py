"""`checkpoint/run.json`: the settings and data of a run, which must be the same to resume it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activity_cli.common.files import write_json
from activity_cli.common.settings_file import REMOVED_SETTINGS
from activity_cli.data.dataset import Dataset
from activity_cli.data.splits import PARTS, Split
from activity_cli.errors import CheckpointError, SettingsError
from activity_cli.settings import FROZEN, NO_VIEWS, ClipSettings, NetworkSettings, TrainSettings

if TYPE_CHECKING:
    from activity_cli.training.fitting import Plan

CHECKPOINT_FOLDER = "checkpoint"  # of a run folder
_RUN_FILE = "run.json"
_MAY_CHANGE = ("epochs", "patience")  # how long it goes on, not what it does

Parts = Mapping[str, Mapping[str, Any]]
"""Settings by name, by stage."""

_DEFAULTS: Parts = {
    "clip": ClipSettings().to_json(),
    "augmentation": NO_VIEWS.to_json(),
    "cnn": FROZEN.to_json(),
    "network": NetworkSettings().to_json(),
    "training": TrainSettings().to_json(),
}


def require_checkpoint(folder: Path) -> None:
    """Raise a CheckpointError unless a run folder holds a training that can be resumed."""
    if not (folder / CHECKPOINT_FOLDER / _RUN_FILE).is_file():
        what = "holds no training to resume" if folder.is_dir() else "is no folder"
        raise CheckpointError(
            f"{folder} {what}.",
            hint="Give a run folder such as runs/gym, or train again: the features are cached.",
        )


def describe_run(dataset: Dataset, split: Split, plan: "Plan") -> Parts:
    """Return everything that the result of a run depends on, except for how long it trains."""
    data_config, settings = plan.data_config, plan.head.training.to_json()
    training = {k: v for k, v in settings.items() if k not in _MAY_CHANGE}
    return {
        "data": {"clips": len(dataset.samples), "digest": _digest(dataset, split)},
        "clip": {**data_config.clip.to_json(), "window_seconds": data_config.window_seconds},
        "augmentation": data_config.augment.to_json(),
        "backbone": data_config.backbone.to_json(),
        "cnn": {k: v for k, v in plan.cnn.to_json().items() if k not in _MAY_CHANGE},
        "network": plan.head.network.to_json(),
        "training": {**training, "background": plan.background},
    }


def write_run_file(checkpoint: Path, parts: Parts) -> None:
    """Write what a run was begun with."""
    write_json(checkpoint / _RUN_FILE, parts)


def check_same(checkpoint: Path, parts: Parts) -> None:
    """Check that a resumed training is the one that was begun; a new one always is.

    Raises:
        SettingsError: a setting or the data changed.
        CheckpointError: the run file cannot be read, or needs an earlier version of activity.
    """
    path, run = checkpoint / _RUN_FILE, checkpoint.parent
    try:
        begun = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}.", hint="Train again without --resume."
        ) from error
    for name, unused in REMOVED_SETTINGS.items():
        value = begun.get("training", {}).get(name, unused[0])
        if value not in unused:
            raise CheckpointError(
                f"{run} was begun with {name} {value}, which this version does not support.",
                hint="Train again without --resume; the features come from the cache.",
            )
    now, defaults = json.loads(json.dumps([parts, _DEFAULTS]))  # tuples become lists
    for part, values in now.items():
        # Settings that are newer than the run had their default then.
        before = {**defaults.get(part, {}), **begun.get(part, {})}
        for name in (name for name in values if values[name] != before.get(name)):
            raise _difference(run, part, name, before, values)


def _difference(
    run: Path, part: str, name: str, before: Mapping[str, Any], now: Mapping[str, Any]
) -> SettingsError:
    if part == "data":
        difference = f"{before.get('clips')} clips then, {now['clips']} now"
        if before.get("clips") == now["clips"]:
            difference = "other files, labels or parts"
        message = f"The data is not what {run} was begun with: {difference}."
    else:
        both = (before.get(name), now[name])
        texts = [", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in both]
        message = f"{run} was begun with {part} {name} {texts[0]}, not {texts[1]}."
    return SettingsError(
        message, hint="Resume with the same settings and data, or train again without --resume."
    )


def _digest(dataset: Dataset, split: Split) -> str:
    """Return the digest of every clip's name, size, piece, label, group and part."""
    part_of = {int(row): part for part in PARTS for row in getattr(split, part)}
    rows = []
    for row, s in enumerate(dataset.samples):
        size = s.path.stat().st_size if s.path.is_file() else None
        rows.append(
            [s.name, size, s.start_seconds, s.end_seconds, s.label, s.group, part_of.get(row)]
        )
    return digest_of(rows)


def digest_of(values: object) -> str:
    """Return the digest of JSON values, to notice changed ones."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
