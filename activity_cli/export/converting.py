"""A model in torch -> the files of one format."""

from pathlib import Path
from typing import Any

from activity_cli.export import formats
from activity_cli.export.graphs import ClipNetwork, Graph, graph_of
from activity_cli.export.joining import join_onnx, join_openvino
from activity_cli.export.metadata import metadata_texts
from activity_cli.export.quantize import quantize_onnx, quantize_openvino
from activity_cli.model.folder import Model
from activity_cli.predict.exported.loading import SUFFIXES
from activity_cli.predict.exported.metadata import Format, GraphMetadata, Part, Precision
from activity_cli.types import Images


class Converter:
    """Writes a model in the formats that are asked for; what two formats share is made once."""

    def __init__(
        self,
        network: ClipNetwork,
        model: Model,
        *,
        precision: Precision,
        dynamic: bool,
        split: bool,
        calibration: Images | None,
    ) -> None:
        self._network = network
        self._model = model
        self._precision = precision
        self._dynamic = dynamic
        self._parts: tuple[Part, ...] = ("cnn", "classifier") if split else ("whole",)
        self._calibration = calibration
        self._graphs: dict[Part, Graph] = {}

    def write(self, format: Format, folder: Path) -> dict[Part, Path]:
        """Write a format's files into a folder; they are named after the model and their part.

        Raises:
            MissingExtraError: a package that the format needs is not installed.
        """
        name = self._model.description.name
        suffix = next(suffix for suffix, known in SUFFIXES.items() if known == format)
        files: dict[Part, Path] = {
            part: folder / (f"{name}{suffix}" if part == "whole" else f"{name}-{part}{suffix}")
            for part in self._parts
        }
        for part, file in files.items():
            self._write_part(part, format, file)
        return files

    def metadata(self, part: Part, format: Format) -> GraphMetadata:
        """What a file says of itself."""
        return GraphMetadata(
            part=part,
            format=format,
            precision=self._precision,
            dynamic=self._dynamic,
            description=self._model.description,
            weights_sha256=self._model.weights_sha256,
        )

    def _write_part(self, part: Part, format: Format, file: Path) -> None:
        texts = metadata_texts(self.metadata(part, format))
        match format:
            case "torchscript":
                formats.write_torchscript(self._graph(part), file, texts)
            case "torch-export":
                formats.write_torch_export(self._graph(part), file, texts)
            case "onnx":
                model = self._onnx_model(part)
                if self._precision == "fp16":
                    formats.halve_onnx_weights(model)
                formats.write_onnx(model, file, texts)
            case "openvino":
                half = self._precision == "fp16"
                formats.write_openvino(self._openvino_model(part), file, texts, half=half)

    def _onnx_model(self, part: Part) -> Any:
        if self._calibration is None or part in {"classifier", "pictures"}:
            return formats.onnx_model(self._graph(part))
        if part == "whole":
            return join_onnx(*(self._onnx_model(step) for step in _STEPS))
        return quantize_onnx(formats.onnx_model(self._graph(part)), self._calibration)

    def _openvino_model(self, part: Part) -> Any:
        if self._calibration is None or part in {"classifier", "pictures"}:
            return formats.openvino_model(self._graph(part))
        if part == "whole":
            return join_openvino(*(self._openvino_model(step) for step in _STEPS))
        return quantize_openvino(formats.openvino_model(self._graph(part)), self._calibration)

    def _graph(self, part: Part) -> Graph:
        if part not in self._graphs:
            self._graphs[part] = graph_of(self._network, part, self._model, dynamic=self._dynamic)
        return self._graphs[part]


_STEPS: tuple[Part, ...] = ("pictures", "cnn", "classifier")
"""What a quantised whole is joined from, in the order of the work."""
