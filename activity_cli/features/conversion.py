"""torch modules -> programs for other runtimes, with the workarounds that torch needs."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DispatchKey
from torch._decomp import decomposition_table


@contextlib.contextmanager
def quiet_jit() -> Iterator[None]:
    """Silence the deprecation of TorchScript, which the user or OpenVINO's converter asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        # nn.LSTM compares the size of its input with its own, which a trace cannot record.
        traced = torch.jit.TracerWarning  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", category=traced, module=r"torch\.nn\.modules\.rnn")
        yield


def export_program(
    module: nn.Module, examples: Sequence[Tensor], dynamic_shapes: tuple[Any, ...]
) -> torch.export.ExportedProgram:
    """Convert a module in eval mode to torch.export's program, LSTMs as one operation each.

    No free size of the examples may be 1, which torch.export takes as fixed.
    """
    with warnings.catch_warnings(), _lstm_of_any_length():
        # nn.LSTM keeps a second list of its weights, which the program does not need.
        warnings.filterwarnings("ignore", r"The tensor attributes? .*_flat_weights", UserWarning)
        return torch.export.export(module, tuple(examples), dynamic_shapes=dynamic_shapes)


def free_sizes(names: Mapping[int, str]) -> dict[int, Any]:
    """Return the free sizes of an input, by axis, as torch.export takes them."""
    return dict.fromkeys(names, torch.export.Dim.DYNAMIC)


def to_onnx(
    program: torch.export.ExportedProgram,
    *,
    names: Sequence[str],
    free: Sequence[Mapping[int, str]],
) -> Any:
    """Convert a program to onnx.ModelProto.

    `names` are those of its inputs in order, then of its outputs; `free` has the names of the free
    sizes of each of these, by axis.
    """
    count = len(program.graph_signature.user_inputs)
    quiet = contextlib.redirect_stdout(io.StringIO())  # torch prints its steps there
    with warnings.catch_warnings(), _lstm_of_any_length(), quiet:
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        converted = torch.onnx.export(
            program,
            (),
            dynamo=True,
            input_names=list(names[:count]),
            output_names=list(names[count:]),
            verbose=False,
        )
    if converted is None:
        raise RuntimeError("torch.onnx.export gave no program")
    model = converted.model_proto
    for sizes, value in zip(free, (*model.graph.input, *model.graph.output), strict=True):
        for axis, name in sizes.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]  # inner shapes, which use other names of the free sizes
    return model


@contextlib.contextmanager
def _lstm_of_any_length() -> Iterator[None]:
    """Make torch.export keep an LSTM as one operation, for sequences of any length.

    torch 2.13 finds the shape of an LSTM's output by unrolling it step by step, which fixes the
    length to the example's (pytorch/pytorch issue 115092). It needs the shape only.
    """
    lstm = torch.ops.aten.lstm.input
    kernels, unrolled = lstm.py_kernels.copy(), decomposition_table[lstm]
    for key in (DispatchKey.Autograd, DispatchKey.CompositeImplicitAutograd):
        lstm.py_kernels[key] = _lstm_shapes
    decomposition_table[lstm] = _lstm_shapes
    lstm._dispatch_cache.clear()
    try:
        yield
    finally:
        lstm.py_kernels.clear()
        lstm.py_kernels.update(kernels)
        decomposition_table[lstm] = unrolled
        lstm._dispatch_cache.clear()


def _lstm_shapes(
    sequence: Tensor, state: list[Tensor], *settings: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Return empty tensors of the shapes of torch.ops.aten.lstm's results, batch first."""
    hidden, cell = state
    directions = 2 if settings[-2] else 1  # the last two are bidirectional and batch_first
    output = sequence.new_empty(*sequence.shape[:2], directions * hidden.shape[2])
    return output, torch.empty_like(hidden), torch.empty_like(cell)
