"""Read the weights of a TFLite file: the few fields of its flatbuffer that hold them.

The layout is that of TensorFlow's schema.fbs; a flatbuffer is a tree of tables that point to each
other by offsets, all numbers little-endian.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES = {2: "<i4", 9: "<i1"}
"""Tensor types of schema.fbs that weights and biases have."""


def read_constants(content: bytes) -> list[NDArray[np.float32]]:
    """Return the quantised constants of a TFLite file as float32, in the order of the file.

    Weights of convolutions are (out, height, width, in), of depthwise ones (1, height, width,
    channels).

    Raises:
        ValueError: it is not a TFLite file, or it ends too early.
    """
    if content[4:8] != b"TFL3":
        raise ValueError("it is not a TFLite file")
    try:
        model = _Table(content, 0).table()
        buffers = model.field(4).tables()
        tensors = model.field(2).tables()[0].field(0).tables()
        return [
            values for tensor in tensors if (values := _dequantise(tensor, buffers)) is not None
        ]
    except (struct.error, IndexError) as error:
        raise ValueError(f"it is damaged ({error})") from error


@dataclass(frozen=True, slots=True)
class _Table:
    """A place in the file: a table, or a field of one. At 0 a field is absent."""

    content: bytes
    at: int

    def number(self, kind: str) -> int:
        return int(struct.unpack_from(f"<{kind}", self.content, self.at)[0]) if self.at else 0

    def table(self) -> "_Table":
        """Follow the offset that is stored here."""
        return _Table(self.content, self.at + struct.unpack_from("<I", self.content, self.at)[0])

    def field(self, index: int) -> "_Table":
        """Return a field, by its position in the schema."""
        vtable = _Table(self.content, self.at - self.number("i"))
        if 4 + 2 * index >= vtable.number("H"):
            return _Table(self.content, 0)
        offset = _Table(self.content, vtable.at + 4 + 2 * index).number("H")
        return _Table(self.content, self.at + offset if offset else 0)

    def tables(self) -> list["_Table"]:
        """Return the tables of a list."""
        start = self.table()
        return [
            _Table(self.content, start.at + 4 + 4 * i).table() for i in range(start.number("I"))
        ]

    def array(self, dtype: str) -> NDArray[Any]:
        """Return the numbers of a list; none if the field is absent."""
        if not self.at:
            return np.empty(0, dtype)
        start = self.table()
        return np.frombuffer(self.content, dtype, start.number("I"), start.at + 4)


def _dequantise(tensor: _Table, buffers: list[_Table]) -> NDArray[np.float32] | None:
    """Return (value - zero point) * scale, or None for what is computed or has no scale."""
    content = buffers[tensor.field(2).number("I")].field(0).array("u1")
    quantisation = tensor.field(4)
    if not content.size or not quantisation.at:
        return None
    quantisation = quantisation.table()
    scales = quantisation.field(2).array("<f4")
    if not scales.size:
        return None
    shape = tensor.field(0).array("<i4")
    values = content.view(_DTYPES[tensor.field(1).number("b")]).reshape(shape)
    along = np.ones(len(shape), int)  # one scale for all, or one per channel
    along[quantisation.field(6).number("i")] = len(scales)
    zeros = quantisation.field(3).array("<i8")
    constant: NDArray[Any] = (values - zeros.reshape(along)) * scales.reshape(along)
    return constant.astype(np.float32)
