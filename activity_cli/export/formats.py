"""A model in torch -> the files of one format, each with its metadata inside."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from activity_cli.common.optional_dependencies import convert_to_openvino, import_openvino
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
        self._model = model
        self._config = config
        self._calibration = calibration
        self._graph: Callable[[Part], Graph] = cache(
            lambda part: graph_of(network, part, model, dynamic=config.dynamic)
        )

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
        half = self._config.precision == "fp16"
        for part, file in files.items():
            texts = metadata_texts(self.metadata(part, format))
            match format:
                case "torchscript":
                    with quiet_jit():
                        torch.jit.save(
                            self._graph(part).script, file, _extra_files=_as_files(texts)
                        )
                case "torch-export":
                    program = self._graph(part).program
                    program.example_inputs = None  # megabytes of zeros
                    torch.export.save(program, file, extra_files=_as_files(texts))
                case "onnx":
                    model = self._converted(part, onnx_model, quantize_onnx, join_onnx)
                    _write_onnx(model, file, texts, half=half)
                case "openvino":
                    model = self._converted(part, openvino_model, quantize_openvino, join_openvino)
                    for key, text in texts.items():
                        model.set_rt_info(text, [DOCUMENT_KEY, key])
                    import_openvino().save_model(model, file, compress_to_fp16=half)
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

    def _converted(
        self,
        part: Part,
        convert: Callable[[Graph], Any],
        quantize: Callable[[Any, Images], Any],
        join: Callable[..., Any],
    ) -> Any:
        """Convert a graph; for int8, quantize the CNN, joined with the others if one is whole."""
        if self._calibration is None or part == "classifier":
            return convert(self._graph(part))
        cnn = quantize(convert(self._graph("cnn")), self._calibration)
        if part == "cnn":
            return cnn
        return join(convert(self._graph("pictures")), cnn, convert(self._graph("classifier")))


def _as_files(texts: dict[str, str]) -> dict[str, Any]:
    """Name the texts as files inside torch's formats. The document and the labels are JSON."""
    names = {DOCUMENT_KEY: DOCUMENT_FILE, "labels": "labels.json"}
    return {names.get(key, f"{key}.txt"): text for key, text in texts.items()}


def onnx_model(graph: Graph) -> Any:
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
    inputs = graph.signature.inputs
    shapes = [tuple(-1 if isinstance(a, str) else a for a in spec.axes) for spec in inputs]
    model = convert_to_openvino(graph.script, example_input=graph.examples(), input=shapes)
    for port, spec in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({spec.name})
        port.get_node().set_friendly_name(spec.name)
    model.outputs[0].get_tensor().set_names({graph.signature.output.name})
    return model
