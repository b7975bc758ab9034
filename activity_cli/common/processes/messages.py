"""Python values through a pipe between two processes.

A message is the pickled value and, beside it, the bytes of its large arrays, which are copied once
into the pipe and once out of it. That costs about as much as memory that both processes share (5 MB
in 1 to 2 ms), and nothing can be left behind in /dev/shm or find it full.
"""

import pickle
import struct
from collections.abc import Sequence
from io import FileIO
from typing import Any

Buffer = bytes | bytearray | memoryview
Message = Sequence[Buffer]


def encode(value: object) -> Message:
    """The value as a message: its pickle, then the buffers that the pickle refers to.

    Raises:
        Exception: whatever pickle says of a value that it cannot take.
    """
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    return [content, *(buffer.raw() for buffer in buffers)]


def decode(message: Message) -> Any:
    """The value of a message. Its arrays lie in the message's buffers, and can be written to."""
    content, *buffers = message
    return pickle.loads(content, buffers=buffers)


def send(pipe: FileIO, message: Message) -> None:
    """Write a message; waits while the pipe is full.

    Raises:
        OSError: nobody reads any more.
    """
    sizes = [len(part) for part in message]
    for part in (struct.pack(f"<{1 + len(sizes)}Q", len(sizes), *sizes), *message):
        rest = memoryview(part)
        while rest:
            rest = rest[pipe.write(rest) :]


def receive(pipe: FileIO) -> Message:
    """Read the next message; waits until it is complete.

    Raises:
        EOFError: nobody writes any more.
    """
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
