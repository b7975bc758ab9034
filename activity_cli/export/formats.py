"""A model in torch -> the files of one format, each with its metadata inside."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from activity_cli.common.optional_dependencies import import_openvino
from activity_cli.export.graphs import ClipNetwork, Graph, graph_of
from activity_cli.export.quantize import join_onnx, join_openvino, quantize_onnx, quantize_openvino
from activity_cli.export.readme import metadata_texts
from activity_cli.features.conversion import quiet_jit, to_onnx
from activity_cli.model.folder import Model
from activity_cli.predict.exported import SUFFIXES
from activity_cli.predict.exported.metadata import (
    DOCUMENT_FILE,
    DOCUMENT_KEY,
    Format,
    GraphMetadata,
    Part,
)
from activity_cli.types import Images

if TYPE_CHECKING:
    from activity_cli.export.exporting import ExportConfig

_QUANTIZED_STEPS: tuple[Part, ...] = ("pictures", "cnn", "classifier")
"""The graphs that a quantized whole is joined from, in order."""
_MAX_HALF = 65504.0
"""The largest number in float16."""
_MIN_HALVED = 256
"""Smaller tensors stay in float32: biases and normalisation need the precision, not the space."""


class Converter:
    """Writes a model in several formats; what two formats share is computed once."""

    def __init__(
        self,
        network: ClipNetwork,
        model: Model,
        config: "ExportConfig",
        *,
        calibration: Images | None,
    ) -> None:
        """Prepare to write; `calibration` holds the images for int8."""
        self._network = network
        self._model = model
        self._config = config
        self._calibration = calibration
        self._graphs: dict[Part, Graph] = {}

    def write(self, format: Format, folder: Path) -> dict[Part, Path]:
        """Write a format's files into a folder; their names are those of the model and the part.

        Raises:
            MissingExtraError: a package that the format needs is not installed.
        """
        name = self._model.description.name
        suffix = next(suffix for suffix, known in SUFFIXES.items() if known == format)
        files: dict[Part, Path] = (
            {part: folder / f"{name}-{part}{suffix}" for part in ("cnn", "classifier")}
            if self._config.split
            else {"whole": folder / f"{name}{suffix}"}
        )
        for part, file in files.items():
            texts = metadata_texts(self.metadata(part, format))
            match format:
                case "torchscript":
                    _write_torchscript(self._graph(part), file, texts)
                case "torch-export":
                    _write_torch_export(self._graph(part), file, texts)
                case "onnx":
                    _write_onnx(self._onnx_model(part), file, texts, half=self._half)
                case "openvino":
                    _write_openvino(self._openvino_model(part), file, texts, half=self._half)
        return files

    def metadata(self, part: Part, format: Format) -> GraphMetadata:
        """Return the metadata of one file."""
        return GraphMetadata(
            part=part,
            format=format,
            precision=self._config.precision,
            dynamic=self._config.dynamic,
            description=self._model.description,
            weights_sha256=self._model.weights_sha256,
        )

    @property
    def _half(self) -> bool:
        return self._config.precision == "fp16"

    def _onnx_model(self, part: Part) -> Any:
        if self._calibration is None or part in {"classifier", "pictures"}:
            return _onnx_model(self._graph(part))
        if part == "whole":
            return join_onnx(*(self._onnx_model(step) for step in _QUANTIZED_STEPS))
        return quantize_onnx(_onnx_model(self._graph(part)), self._calibration)

    def _openvino_model(self, part: Part) -> Any:
        if self._calibration is None or part in {"classifier", "pictures"}:
            return openvino_model(self._graph(part))
        if part == "whole":
            return join_openvino(*(self._openvino_model(step) for step in _QUANTIZED_STEPS))
        return quantize_openvino(openvino_model(self._graph(part)), self._calibration)

    def _graph(self, part: Part) -> Graph:
        if part not in self._graphs:
            dynamic = self._config.dynamic
            self._graphs[part] = graph_of(self._network, part, self._model, dynamic=dynamic)
        return self._graphs[part]


def _write_torchscript(graph: Graph, path: Path, texts: dict[str, str]) -> None:
    with quiet_jit():
        torch.jit.save(graph.script, path, _extra_files=_as_files(texts))


def _write_torch_export(graph: Graph, path: Path, texts: dict[str, str]) -> None:
    graph.program.example_inputs = None  # megabytes of zeros
    torch.export.save(graph.program, path, extra_files=_as_files(texts))


def _as_files(texts: dict[str, str]) -> dict[str, Any]:
    """Name the texts as files inside torch's formats. The document and the labels are JSON."""
    names = {DOCUMENT_KEY: DOCUMENT_FILE, "labels": "labels.json"}
    return {names.get(key, f"{key}.txt"): text for key, text in texts.items()}


def _onnx_model(graph: Graph) -> Any:
    """Convert a graph to onnx.ModelProto, with the names and free sizes of its signature."""
    specs = (*graph.signature.inputs, graph.signature.output)
    return to_onnx(
        graph.program,
        names=[spec.name for spec in specs],
        free=[spec.free_sizes for spec in specs],
    )


def _write_onnx(model: Any, path: Path, texts: dict[str, str], *, half: bool) -> None:
    """Write an onnx.ModelProto as one file, the texts as its metadata properties."""
    import onnx

    if half:
        _halve_onnx_weights(model)
    onnx.helper.set_model_props(model, texts)
    model.producer_name = "activity"
    onnx.save_model(model, path)


def _halve_onnx_weights(model: Any) -> None:
    """Store weights as float16 and compute in float32 as before.

    CPUs have few float16 operations. The runtime folds the Cast behind each weight at loading.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < _MIN_HALVED or np.abs(values).max() > _MAX_HALF:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]  # ONNX wants a node before those that read it
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def openvino_model(graph: Graph) -> Any:
    """Convert a graph to openvino.Model, with the names and free sizes of its signature."""
    ov = import_openvino()
    inputs = graph.signature.inputs
    shapes = [tuple(-1 if isinstance(a, str) else a for a in spec.axes) for spec in inputs]
    model = ov.convert_model(graph.script, example_input=graph.examples(), input=shapes)
    for port, spec in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({spec.name})
        port.get_node().set_friendly_name(spec.name)
    model.outputs[0].get_tensor().set_names({graph.signature.output.name})
    return model


def _write_openvino(model: Any, path: Path, texts: dict[str, str], *, half: bool) -> None:
    """Write an openvino.Model as .xml and .bin, the texts under rt_info/activity."""
    ov = import_openvino()
    for key, text in texts.items():
        model.set_rt_info(text, [DOCUMENT_KEY, key])
    ov.save_model(model, path, compress_to_fp16=half)
