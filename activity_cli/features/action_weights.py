"""Find the weights of the action network on this machine, or fetch them.

They are one published file of 3.3 MB, known by its SHA-256. It is looked for in the folder
ACTIVITY_WEIGHTS, then in the user's cache folder, to which it is fetched. Light to import.
"""

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from activity_cli.common.cache import default_cache_dir
from activity_cli.common.files import sha256_of, write_bytes_atomically
from activity_cli.errors import BackboneError, OutputError
from activity_cli.features.backbones import is_offline
from activity_cli.types import OnProgress, no_progress
from activity_cli.version import __version__

NAME = "movinet_a0"
FILE_NAME = "movinet_a0_stream_int8.tflite"
SHA256 = "6125b36e2485eeb5cc1fd6206cf5e5d70235593fbc84610d1dce97fe3aa9c2ac"
FILE_BYTES = 3_276_048
NUM_PARAMETERS = 2_723_392
FRAME_SIZE = 172  # side of a frame, in pixels
POOLED_SIZE = 480  # means over the network's last maps of a frame
HIDDEN_SIZE = 2048  # hidden units of its classifier
FEATURE_SIZE = POOLED_SIZE + HIDDEN_SIZE  # of a frame
LICENCE = "Apache-2.0"
SOURCE = "MoViNet-A0-Stream for Kinetics-600, TensorFlow Model Garden"
_HUB = "tensorflow/lite-model/movinet/a0/stream/kinetics-600/classification/tflite/int8/1"
_KAGGLE = "google/movinet/tfLite/a0-stream-kinetics-600-classification-tflite-int8/1"
ADDRESSES = (
    f"https://tfhub.dev/{_HUB}?lite-format=tflite",
    f"https://storage.googleapis.com/tfhub-lite-models/{_HUB}.tflite",
    f"https://www.kaggle.com/api/v1/models/{_KAGGLE}/download",  # a tar.gz with the file in it
)
_MAX_BYTES = 4 * FILE_BYTES  # of an answer, packed and unpacked
_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionNetworkListing:
    """What a user needs to know about the action network."""

    name: str = NAME
    num_parameters: int = NUM_PARAMETERS
    file_mb: float = FILE_BYTES / 1e6  # megabytes (10^6 bytes)
    licence: str = LICENCE
    source: str = SOURCE
    kinetics600_top1: float = 65.0
    """Published accuracy of the file on Kinetics-600, in percent."""
    float_kinetics600_top1: float = 72.05  # of the network before its weights became int8
    is_local: bool  # whether the weights are on this machine


def list_action_networks() -> list[ActionNetworkListing]:
    """List the action networks: there is one."""
    return [ActionNetworkListing(is_local=find_action_weights() is not None)]


def find_action_weights() -> Path | None:
    """Return the file with the weights, unchecked, or None if it is not on this machine."""
    folders = [Path(chosen)] if (chosen := os.environ.get("ACTIVITY_WEIGHTS")) else []
    places = [folder / FILE_NAME for folder in (*folders, default_cache_dir() / "weights")]
    return next((file for file in places if file.is_file()), None)


def action_weights_file() -> Path:
    """Return the file with the weights.

    Raises:
        BackboneError: it is not on this machine, or another file has its name.
    """
    file = find_action_weights()
    if file is None:
        raise BackboneError(
            f"The weights of {NAME} are not on this machine.",
            hint=f"Fetch them ({FILE_BYTES / 1e6:.1f} MB): activity models pull {NAME}. Or set "
            f"ACTIVITY_WEIGHTS to a folder with {FILE_NAME}.",
        )
    if sha256_of(file) != SHA256:
        raise BackboneError(
            f"{file} does not hold the weights of {NAME}: it is damaged or another file.",
            hint=f"Delete it, then: activity models pull {NAME}",
        )
    return file


def kinetics600_labels() -> tuple[str, ...]:
    """Return the labels of Kinetics-600 in the order of the network's logits."""
    text = Path(__file__).with_name("kinetics600.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def fetch_action_weights(
    addresses: Sequence[str] = ADDRESSES,
    *,
    timeout_seconds: float = 60,
    on_progress: OnProgress = no_progress,
    on_failure: Callable[[str], None] = lambda _: None,
) -> Path:
    """Download the weights into the cache folder, from the first address that has them.

    `timeout_seconds` is the limit per address; `on_failure` gets a line for each that failed.

    Raises:
        BackboneError: no address gave the right file, or it cannot be written, or
            ACTIVITY_OFFLINE is set.
    """
    import http.client

    hint = (
        f"Fetch {addresses[0]} elsewhere, then: activity models pull {NAME} --from FILE. "
        f"Or set ACTIVITY_WEIGHTS to a folder with {FILE_NAME}."
    )
    if is_offline():
        raise BackboneError("ACTIVITY_OFFLINE is set, so nothing is downloaded.", hint=hint)
    for address in addresses:
        try:
            answer = _download(address, timeout_seconds, on_progress)
            return _store(_find_weights_in(answer))
        except (OSError, http.client.HTTPException, ValueError) as error:
            on_failure(f"{address}: {_describe(error)}")
    raise BackboneError(f"No address gave the weights of {NAME}.", hint=hint)


def copy_action_weights(file: Path) -> Path:
    """Copy the weights from a file, or an archive with it, into the cache folder.

    Raises:
        BackboneError: the file cannot be read or is another one, or the copy cannot be written.
    """
    try:
        with file.open("rb") as opened:
            return _store(_find_weights_in(opened.read(_MAX_BYTES)))
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{file} cannot serve as the weights of {NAME}: {_describe(error)}.",
            hint=f"The right file has {FILE_BYTES:,} bytes and the SHA-256 {SHA256}.",
        ) from error


def _download(address: str, timeout_seconds: float, on_progress: OnProgress) -> bytes:
    """Return the answer of a server; OSError, HTTPException or ValueError if it has none."""
    import urllib.request

    deadline = time.monotonic() + timeout_seconds
    request = urllib.request.Request(address, headers={"User-Agent": f"activity/{__version__}"})
    content = bytearray()
    with closing(urllib.request.urlopen(request, timeout=timeout_seconds)) as answer:
        announced = int(answer.headers.get("Content-Length", 0))
        while len(content) != announced or not announced:
            chunk = answer.read1(_CHUNK_BYTES)  # what has come, so that a slow server is noticed
            if not chunk:
                break
            content += chunk
            on_progress("download", len(content) // 1000, announced // 1000)
            if len(content) > _MAX_BYTES:
                raise ValueError("the answer is too long")
            if time.monotonic() > deadline:
                raise TimeoutError
    if len(content) < announced:
        raise ValueError(f"cut off after {len(content):,} of {announced:,} bytes")
    return bytes(content)


def _find_weights_in(content: bytes) -> bytes:
    """Return the right file, if this is it or an archive (tar.gz) with it; else a ValueError."""
    for candidate in _candidates(content):
        if hashlib.sha256(candidate).hexdigest() == SHA256:
            return candidate
    raise ValueError("it is another file (by its SHA-256)")


def _candidates(content: bytes) -> Iterator[bytes]:
    import tarfile
    import zlib

    yield content
    if not content.startswith(b"\x1f\x8b"):  # gzip
        return
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(content, _MAX_BYTES)
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:") as archive:
            for member in archive:
                if member.size == FILE_BYTES and (file := archive.extractfile(member)):
                    yield file.read()
    except (zlib.error, tarfile.TarError) as error:
        raise ValueError(f"the archive is damaged ({error})") from error


def is_download_declined() -> bool:
    """Return whether the user was asked for the download before, and did not want it."""
    return _declined_file().exists()


def decline_download() -> None:
    """Remember that the user does not want the download, as far as the cache can be written."""
    with suppress(OutputError):
        write_bytes_atomically(_declined_file(), b"")


def _declined_file() -> Path:
    return default_cache_dir() / "weights" / "declined"


def _store(content: bytes) -> Path:
    file = default_cache_dir() / "weights" / FILE_NAME
    try:
        write_bytes_atomically(file, content)
    except OutputError as error:
        hint = "Free space there, or choose another cache folder with ACTIVITY_CACHE_DIR."
        raise BackboneError(error.message, hint=hint) from error
    return file


def _describe(error: Exception) -> str:
    """Describe in a few words why a file could not be had."""
    from urllib.error import HTTPError, URLError

    match error:
        case TimeoutError() | URLError(reason=TimeoutError()):
            return "too slow"
        case HTTPError():
            return f"HTTP {error.code} {error.reason}"
        case URLError(reason=OSError() as cause):
            return cause.strerror or str(cause)
        case OSError():
            return error.strerror or str(error)
    return str(error) or type(error).__name__
