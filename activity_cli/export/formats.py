"""Graphs as files: each format's own way to store one, with what it says of itself inside."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from activity_cli.common.optional_dependencies import import_openvino
from activity_cli.export.graphs import Graph
from activity_cli.features.conversion import quiet_jit, to_onnx
from activity_cli.predict.exported.metadata import DOCUMENT_FILE, DOCUMENT_KEY

_LARGEST_HALF = 65504.0
_FEWEST_HALVED = 256
"""Smaller tensors stay whole: biases and normalisation are worth more than their bytes."""


def write_torchscript(graph: Graph, path: Path, texts: dict[str, str]) -> None:
    """Write TorchScript; the texts are extra files in it."""
    with quiet_jit():
        torch.jit.save(graph.script, path, _extra_files=_as_files(texts))


def write_torch_export(graph: Graph, path: Path, texts: dict[str, str]) -> None:
    """Write torch.export's program; the texts are extra files in it."""
    graph.program.example_inputs = None  # megabytes of zeros
    torch.export.save(graph.program, path, extra_files=_as_files(texts))


def onnx_model(graph: Graph) -> Any:
    """The graph as onnx.ModelProto, with the names and free sizes of its signature."""
    specs = (*graph.signature.inputs, graph.signature.output)
    return to_onnx(
        graph.program,
        names=[spec.name for spec in specs],
        free=[spec.free_sizes for spec in specs],
    )


def write_onnx(model: Any, path: Path, texts: dict[str, str]) -> None:
    """Write an onnx.ModelProto as one file, the texts as its metadata properties."""
    import onnx

    onnx.helper.set_model_props(model, texts)
    model.producer_name = "activity"
    onnx.save_model(model, path)


def halve_onnx_weights(model: Any) -> None:
    """Store the weights of an onnx.ModelProto as float16 and compute as before, in float32.

    CPUs have few float16 operations. A Cast behind each weight is folded when it is loaded.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _FEWEST_HALVED or np.abs(values).max() > _LARGEST_HALF:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]  # a node stands behind those that it reads
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def openvino_model(graph: Graph) -> Any:
    """The graph as openvino.Model, with the names and free sizes of its signature."""
    ov = import_openvino()
    inputs = graph.signature.inputs
    shapes = [tuple(-1 if isinstance(a, str) else a for a in spec.axes) for spec in inputs]
    model = ov.convert_model(graph.script, example_input=graph.examples(), input=shapes)
    for port, spec in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({spec.name})
        port.get_node().set_friendly_name(spec.name)
    model.outputs[0].get_tensor().set_names({graph.signature.output.name})
    return model


def write_openvino(model: Any, path: Path, texts: dict[str, str], *, half: bool) -> None:
    """Write an openvino.Model as .xml and .bin, the texts under rt_info/activity."""
    ov = import_openvino()
    for key, text in texts.items():
        model.set_rt_info(text, [DOCUMENT_KEY, key])
    ov.save_model(model, path, compress_to_fp16=half)


def _as_files(texts: dict[str, str]) -> dict[str, Any]:
    """Names of files for the texts. The document and the labels are JSON."""
    names = {DOCUMENT_KEY: DOCUMENT_FILE, "labels": "labels.json"}
    return {names.get(key, f"{key}.txt"): text for key, text in texts.items()}
