"""What `activity doctor` finds: versions, engines, codecs, weights, folders, and a fix per problem.

Libraries are tried in a worker process, so that one that crashes on import costs one line.
"""

import os
import platform
import shutil
import sys
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from activity_cli.common.cache import cache_sizes
from activity_cli.common.processes import available_cpus
from activity_cli.common.processes.pool import WorkerPool
from activity_cli.errors import ActivityError, MissingExtraError
from activity_cli.version import __version__

R = TypeVar("R")

_EXTRAS = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "int8": ("nncf",),
    "parquet": ("pyarrow",),
    "codecs": ("av",),
    "video": ("imageio-ffmpeg",),
    "cluster": ("ray",),
    "tune": ("optuna",),
    "distributed": ("accelerate",),
    "tensorboard": ("tensorboard",),
}
"""Packages of each extra, by which it is recognized."""

_SAMPLES = {
    "H.264": "AAAAAWdkAAqs2UQmwEQAAAMABAAAAwAoPEiWWAAAAAFo6+PLIsAAAAFliIQAP//+5nX4FNMIGkky/EPOPzFX"
    "KecBbOdNDh9VKAxnUXBjbw==",
    "H.265": "AAAAAUABDAH//wFgAAADAJAAAAMAAAMAHpWYCQAAAAFCAQEBYAAAAwCQAAADAAADAB6gIIEFllZpJMrwFoCA"
    "AAADAIAAAAMChAAAAAFEAcFytCJAAAABKAGvJvpVA//u6X/zkyHW0FKfng==",
    "VP9": "REtJRgAAIABWUDkwQABAAAUAAAABAAAAAQAAAAAAAAArAAAAAAAAAAAAAACCSYNCAAPwA/YAOCQcGEoAADBg"
    "AAATv//4cxAACP////cU2/////6sdYAA",
    "AV1": "REtJRgAAIABBVjAxQABAAAUAAAABAAAAAQAAAAAAAAAkAAAAAAAAAAAAAAASAAoKAAAAAq//n/8wCDIUEADA"
    "AAACgAAACgV5Um5D2TpGAig=",
}
"""A red frame of 64 x 64 pixels in each codec, from ffmpeg's libx264, libx265, libvpx, libaom."""
_CPU_FEATURES = ("avx2", "avx_vnni", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16")
"""Instructions of x86 CPUs on which the speed depends."""
_LEAST_FREE_BYTES = 1e9
_PROBE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    topic: str
    name: str
    value: str
    level: Literal["ok", "note", "error"] = "ok"
    """A note is something absent that not every user needs; an error stops commands."""
    fix: str = ""


def diagnose(cache_dir: Path) -> Iterator[Finding]:
    """Examine this installation and machine; commands use the folder `cache_dir` as their cache."""
    yield from _versions()
    with WorkerPool(1, timeout_seconds=_PROBE_SECONDS) as pool:

        def probe(function: Callable[..., R], *arguments: Any) -> R | Exception:
            try:
                return pool.call(function, *arguments)
            except (ActivityError, ImportError, OSError, RuntimeError) as error:
                return error

        yield from _hardware(probe(probe_torch))
        for name in ("openvino", "onnx", "torch"):
            yield _engine(name, probe(probe_engine, name))
        yield from _codecs(probe(probe_codecs))
        yield _ffmpeg(probe(probe_ffmpeg))
    yield from _weights()
    yield from _folders(cache_dir)
    yield from _environment()


def _versions() -> Iterator[Finding]:
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("Versions", "activity", __version__)
    yield Finding("Versions", "Python", f"{python}, {sys.executable}")
    names = ("torch", "torchvision", "openvino", "numpy")
    installed = {name: _version(name) for name in names}
    opencv = [f"opencv-{kind}python{end}" for kind in ("", "contrib-") for end in ("", "-headless")]
    present = [(name, found) for name in opencv if (found := _version(name))]
    if len(present) > 1:
        names_present = " ".join(name for name, _ in present)
        yield Finding(
            "Versions",
            "OpenCV",
            f"{len(present)} distributions overwrite each other: {names_present}",
            level="error",
            fix=f"pip uninstall -y {names_present} && pip install opencv-python-headless",
        )
    installed |= dict(present[:1]) if present else {"opencv-python": None}
    for name, found in installed.items():
        if found is None:
            fix = f"pip install {name}"
            yield Finding("Versions", name, "not installed", level="error", fix=fix)
    libraries = ", ".join(f"{name} {found}" for name, found in installed.items() if found)
    yield Finding("Versions", "libraries", libraries)
    for extra, packages in _EXTRAS.items():
        parts = [f"{name} {version}" for name in packages if (version := _version(name))]
        if len(parts) == len(packages):
            yield Finding("Extras", extra, ", ".join(parts))
        else:
            fix = f"pip install 'activity-cli[{extra}]'"
            yield Finding("Extras", extra, "not installed", level="note", fix=fix)


def _version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def probe_torch() -> tuple[list[str], str]:
    """Return the CPU's features by torch, and the name of the GPU that it can use, or ""."""
    import torch

    from activity_cli.features.engines.choice import find_gpu

    features = [name for name, has in torch.cpu.get_capabilities().items() if has is True]
    gpu = find_gpu() or ""
    return features, torch.cuda.get_device_name(0) if gpu == "cuda" else gpu


def _hardware(found: tuple[list[str], str] | Exception) -> Iterator[Finding]:
    cores = f"{available_cpus()} of {os.cpu_count()} cores"
    if isinstance(found, Exception):
        yield Finding("Machine", "CPU", cores)
        return
    features, gpu = found
    features = [name for name in _CPU_FEATURES if name in features] or features
    yield Finding("Machine", "CPU", f"{cores}; {', '.join(features)}")
    value = gpu or "none that torch can use; the CPU computes"
    fix = "" if gpu else "Only if there is one: install a torch for it (pytorch.org)"
    yield Finding("Machine", "GPU", value, level="ok" if gpu else "note", fix=fix)


def probe_engine(name: str) -> list[str]:
    """Return the precisions in which an engine computes here, the automatic one first."""
    from activity_cli.features.engines.choice import choose_engine

    chosen = choose_engine(cast(Any, name))
    module = import_module(f"activity_cli.features.engines.{name}")
    precisions = [module.choose_precision(chosen)]
    for precision in ("fp32", "bf16", "fp16", "int8"):
        with suppress(ActivityError):
            precisions.append(module.choose_precision(replace(chosen, precision=precision)))
    return list(dict.fromkeys(precisions))


def _engine(name: str, found: list[str] | Exception) -> Finding:
    match found:
        case MissingExtraError():
            return Finding("Engines", name, "not installed", level="note", fix=found.hint)
        case Exception():
            fix = f"Reinstall it: pip install --force-reinstall {_PACKAGES[name]}"
            return Finding("Engines", name, _describe(found), level="error", fix=fix)
    others = f"; also {', '.join(found[1:])}" if found[1:] else ""
    return Finding("Engines", name, f"{found[0]} by default{others}")


_PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}


def probe_codecs() -> dict[str, str]:
    """Return what decodes a frame of each codec: its name, or "" where nothing does."""
    from activity_cli.errors import VideoError
    from activity_cli.video.reader import VideoReader

    decoders = {}
    with tempfile.TemporaryDirectory() as folder:
        for codec, content in _SAMPLES.items():
            path = Path(folder, "sample.bin")
            path.write_bytes(b64decode(content))
            decoders[codec] = ""
            with suppress(VideoError), VideoReader(path, num_threads=1) as reader:
                reader.retrieve()
                decoders[codec] = reader.decoder
    return decoders


def _codecs(found: dict[str, str] | Exception) -> Iterator[Finding]:
    if isinstance(found, Exception):
        # libGL is what servers and containers lack.
        fix = "pip uninstall -y opencv-python && pip install opencv-python-headless"
        yield Finding("Video", "OpenCV", _describe(found), level="error", fix=fix)
        return
    decodes = ", ".join(f"{codec} by {by}" for codec, by in found.items() if by)
    yield Finding("Video", "decoders", decodes)
    for codec in (codec for codec, by in found.items() if not by):
        fix = "pip install 'activity-cli[codecs]'"
        yield Finding("Video", codec, "no decoder", level="note", fix=fix)


def probe_ffmpeg() -> str:
    """Return the path of the ffmpeg that writes videos, or ""."""
    from activity_cli.report.overlay.encoder import find_ffmpeg

    return find_ffmpeg() or ""


def _ffmpeg(found: str | Exception) -> Finding:
    if isinstance(found, str) and found:
        return Finding("Video", "ffmpeg", f"{found}, writes H.264 with sound")
    value = "none: videos are written as MPEG-4 Part 2 without sound"
    fix = "Install ffmpeg, or: pip install 'activity-cli[video]'"
    return Finding("Video", "ffmpeg", value, level="note", fix=fix)


def _weights() -> Iterator[Finding]:
    from activity_cli.features import action_weights
    from activity_cli.features.backbones import find_backbone
    from activity_cli.model.folder import load_model, shipped_models

    checks: dict[str, Callable[[], str]] = {
        "CNN": lambda: find_backbone().name,
        "models": lambda: ", ".join(load_model(one).description.name for one in shipped_models()),
    }
    for name, check in checks.items():
        try:
            if value := check():
                yield Finding("Weights", name, value)
                continue
            problem = "none is included in this installation"
        except (ActivityError, ImportError, OSError) as error:
            problem = _describe(error)
        fix = "pip install --force-reinstall activity-cli"
        yield Finding("Weights", name, problem, level="error", fix=fix)
    name = "action network"
    if action_weights.find_action_weights() is None:
        size = f"{action_weights.FILE_BYTES / 1e6:.1f} MB"
        fix = f"activity models pull {action_weights.NAME}"
        yield Finding("Weights", name, f"not on this machine ({size})", level="note", fix=fix)
        return
    try:
        yield Finding("Weights", name, str(action_weights.action_weights_file()))
    except ActivityError as error:
        yield Finding("Weights", name, error.message, level="error", fix=error.hint)


def _folders(cache_dir: Path) -> Iterator[Finding]:
    used = sum(size for name, size in cache_sizes(cache_dir).items() if name.endswith("_bytes"))
    places = {
        "cache": (cache_dir, "Choose another with ACTIVITY_CACHE_DIR or --cache-dir"),
        "this folder": (Path.cwd(), "Work in another folder, or write with --output elsewhere"),
        "temporary files": (Path(tempfile.gettempdir()), "Choose another with TMPDIR"),
    }
    for name, (folder, fix) in places.items():
        size = f", {used / 1e6:.0f} MB used" if name == "cache" else ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(bytes(4096))
            free = shutil.disk_usage(folder).free
        except OSError as error:
            value = f"{folder}: cannot be written ({error.strerror or error})"
            yield Finding("Folders", name, value, level="error", fix=fix)
            continue
        is_full = free < _LEAST_FREE_BYTES
        yield Finding(
            "Folders",
            name,
            f"{folder}: writable, {free / 1e9:.1f} GB free{size}",
            level="note" if is_full else "ok",
            fix="Free space there, or: activity cache --clear" if is_full else "",
        )


def _environment() -> Iterator[Finding]:
    names = sorted(name for name in os.environ if name.startswith("ACTIVITY_"))
    values = ", ".join(f"{name}={os.environ[name]}" for name in names) or "no ACTIVITY_... is set"
    yield Finding("Settings", "environment", values)
    encoding = getattr(sys.stdout, "encoding", None) or "none"
    yield Finding("Settings", "output encoding", encoding)


def _describe(error: Exception) -> str:
    return " ".join((getattr(error, "message", "") or str(error) or type(error).__name__).split())
