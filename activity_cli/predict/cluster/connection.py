"""The connection to a Ray cluster: made, silent, and with errors that say what to do."""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from activity_cli.common.optional_dependencies import import_ray
from activity_cli.errors import ActivityError, SettingsError

_SECONDS_TO_ANSWER = 10.0


class ClusterError(ActivityError):
    """A cluster cannot be reached, or could not do all of the work."""


@contextmanager
def connect(address: str, *, on_note: Callable[[str], None]) -> Iterator[None]:
    """Connect to a cluster for the length of the block.

    Args:
        address: of its head, `host:port`; `auto` is the one that this machine belongs to; `local`
            starts one on this machine alone, which ends with the block.
        on_note: called with one line about what takes a while.

    Raises:
        ClusterError: there is none.
        SettingsError: this is not an address.
        MissingExtraError: Ray is not installed.
    """
    on_note("Starting Ray on this machine." if address == "local" else "Connecting to the cluster.")
    ray = import_ray()
    if address not in ("auto", "local"):
        _check_reachable(address)
    own = {"include_dashboard": False} if address == "local" else {}
    try:
        # Workers find modules where this process does, whatever folder it was started in.
        path = os.pathsep.join(os.path.abspath(entry) for entry in _module_path())  # noqa: PTH100
        with _quiet_stderr():
            ray.init(
                address=address,
                log_to_driver=_is_debugging(),
                logging_level=logging.WARNING if _is_debugging() else logging.CRITICAL,
                runtime_env={"env_vars": {"PYTHONPATH": path}} if path else None,
                **own,
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise _no_cluster(address, str(error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Check that something answers at the address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(
            f"{address!r} is not the address of a cluster.",
            hint="Write auto, local, or host:port, as `ray start --head` prints it.",
        )
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, why: str) -> ClusterError:
    if address == "auto":
        return ClusterError(
            "No Ray cluster is running on this machine.",
            hint="Add --cluster local to start one here for this run, or start one that other "
            "machines can join with `ray start --head`, then run the same command again.",
        )
    reason = why.partition("\n")[0]
    return ClusterError(
        f"There is no Ray cluster at {address}: {reason}",
        hint="Start one there with `ray start --head`, or use --cluster local.",
    )


def _is_debugging() -> bool:
    return bool(os.environ.get("ACTIVITY_DEBUG"))


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Suppress what Ray's C++ part writes to stderr while it starts."""
    if _is_debugging():
        yield
        return
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _module_path() -> Sequence[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


@contextmanager
def translated() -> Iterator[None]:
    """Translate Ray's errors to ours.

    Raises:
        ClusterError: the cluster has failed.
    """
    ray = import_ray()
    try:
        yield
    except ray.exceptions.RayError as error:
        line = next((line for line in str(error).splitlines()[::-1] if line.strip()), repr(error))
        raise ClusterError(
            f"The cluster has failed: {line.strip()}",
            hint="Finished rows are kept: run the same command again to resume. Check that every "
            "machine has the same version of activity-cli and sees the files under the same paths.",
        ) from error
