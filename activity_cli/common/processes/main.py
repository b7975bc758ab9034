"""The child process of `pool.py`, and the messages between both.

`python -m activity_cli.common.processes.main MODULE...` imports the modules and sends an empty
message when it is ready. A request is (function, args, kwargs); the answer is (result, None, "") or
(None, error, the error's traceback).

A message is the pickled value and the bytes of its large arrays, which are copied once into the
pipe and once out of it. That is about as fast as shared memory (5 MB in 1 to 2 ms), and nothing can
be left behind in /dev/shm or find it full.
"""

import importlib
import os
import pickle
import struct
import sys
import threading
import traceback
from collections.abc import Sequence
from io import FileIO
from queue import SimpleQueue
from typing import Any

Buffer = bytes | bytearray | memoryview
Message = Sequence[Buffer]


def encode(value: object) -> Message:
    """Return a value as a message: its pickle, then the buffers that the pickle refers to."""
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return [content, *(buffer.raw() for buffer in buffers)]


def decode(message: Message) -> Any:
    """Return the value of a message. Its arrays use the message's buffers and are writable."""
    content, *buffers = message
    return pickle.loads(content, buffers=buffers)


def send(pipe: FileIO, message: Message) -> None:
    """Write a message; waits while the pipe is full. An OSError if nobody reads any more."""
    sizes = [len(part) for part in message]
    for part in (struct.pack(f"<{1 + len(sizes)}Q", len(sizes), *sizes), *message):
        rest = memoryview(part)
        while rest:
            rest = rest[pipe.write(rest) :]


def receive(pipe: FileIO) -> Message:
    """Read the next message; waits until it is complete. An EOFError if nobody writes any more."""
    (count,) = struct.unpack("<Q", _read(pipe, 8))
    sizes = struct.unpack(f"<{count}Q", _read(pipe, 8 * count))
    return [_read(pipe, size) for size in sizes]


def _read(pipe: FileIO, size: int) -> bytearray:
    content = bytearray(size)
    rest = memoryview(content)
    while rest:
        count = pipe.readinto(rest)
        if not count:
            raise EOFError("the pipe was closed")
        rest = rest[count:]
    return content


def main() -> None:
    """Answer requests from stdin on what was stdout."""
    # What functions print must not get between the messages, so stdin and stdout move elsewhere.
    requests = FileIO(os.dup(0), "r")
    answers = FileIO(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    waiting: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_read_requests, args=(requests, waiting), daemon=True).start()
    for module in sys.argv[1:]:
        importlib.import_module(module)
    send(answers, [])
    while True:
        send(answers, _answer(waiting.get()))


def _read_requests(requests: FileIO, waiting: "SimpleQueue[Message]") -> None:
    """Pass requests on; end the process as soon as the parent has ended, also during a call.

    The system's own signal for that (PR_SET_PDEATHSIG) comes when the thread that started this
    process ends, often long before the parent does.
    """
    while True:
        try:
            waiting.put(receive(requests))
        except EOFError:
            os._exit(0)


def _answer(request: Message) -> Message:
    try:
        function, args, kwargs = decode(request)
        return encode((function(*args, **kwargs), None, ""))
    except BaseException as error:  # raised again in the parent
        where = "".join(traceback.format_exception(error))
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # it cannot be pickled, so it is quoted
            error = RuntimeError(f"{type(error).__qualname__}: {error}")
        return encode((None, error, where))


if __name__ == "__main__":
    main()
