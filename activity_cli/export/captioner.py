"""Export a captioner: an encoder and a decoder step, compared with the model on whole sentences.

    encoder  frames of a clip -> memory (1, T, F), evidence (1, E), hidden (1, H), cell (1, H)
    step     word (B,), hidden, cell, memory, evidence
             -> log_probabilities (B, V), attention (B, T), hidden, cell

B sentences, T frames, V words; F, E and H as in `model.captioner`. The README of the export has the
loop between both, in ten lines.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from activity_cli.common.files import new_folder, write_json, write_text_atomically
from activity_cli.common.optional_dependencies import (
    convert_to_openvino,
    import_openvino,
    openvino_core,
    require_onnx,
)
from activity_cli.errors import ExportError
from activity_cli.export.graphs import ClipNetwork, build_network
from activity_cli.export.parity import read_clips
from activity_cli.export.readme import describe_preprocessing
from activity_cli.features.conversion import export_program, quiet_jit, to_onnx
from activity_cli.model.caption_search import Floats, Hypothesis, search
from activity_cli.model.captioner import Captioner, load_captioner
from activity_cli.model.folder import Model
from activity_cli.predict.exported.metadata import Format
from activity_cli.types import frame_roles

TOLERANCE = 0.01  # of the log-probability of a whole sentence
_OF_ENCODER = ("memory", "evidence", "hidden", "cell")
_OF_STEP = ("log_probabilities", "attention", "hidden_after", "cell_after")
_INTO_STEP = ("word", "hidden", "cell", "memory", "evidence")
_README = Template(Path(__file__).with_name("captioner_readme.md").read_text(encoding="utf-8"))

Run = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]
"""Computes the outputs of a graph, in order, from its inputs by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionParity:
    """An export compared with the model in torch."""

    format: Format
    num_clips: int
    num_same_sentence: int
    largest_difference: float  # of the log-probability of a sentence
    megabytes: float

    @property
    def failure(self) -> str:
        """Describe what differs; empty if nothing does."""
        if wrong := self.num_clips - self.num_same_sentence:
            return f"{wrong} of {self.num_clips} clips get another sentence"
        if not self.largest_difference <= TOLERANCE:
            return f"a sentence's log-probability differs by {self.largest_difference:.1e}"
        return ""


class _Start(nn.Module):
    """Features to what the steps read, and the state before the first word."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        memory, evidence = self.captioner.encoder(features)
        return memory, evidence, *self.captioner.decoder.start(evidence)


def export_captioner(
    model: Model,
    output: Path,
    formats: Sequence[Format],
    *,
    verify: Sequence[Path],
    overwrite: bool = False,
    on_prepare: Callable[[str], None] = lambda _: None,
) -> tuple[CaptionParity, ...]:
    """Write the two graphs of each format to `output/FORMAT`, if whole sentences are the same.

    Raises:
        ExportError: a format is not possible, or a sentence differs from that of the model.
        MissingExtraError: packages for a format are not installed.
        OutputError: the folder cannot be written.
    """
    if refused := [one for one in formats if one not in ("onnx", "openvino")]:
        raise ExportError(
            f"A captioner cannot be exported as {refused[0]}.", hint="Use onnx or openvino."
        )
    if "onnx" in formats:
        require_onnx()
    clip = model.description.clip
    encoder, step = _modules(model)
    clips = read_clips(verify, clip)
    inputs: list[dict[str, NDArray[Any]]] = [
        {role: one.images[role][None] for role in frame_roles(clip)} for one in clips
    ]
    on_prepare(f"Describing {len(clips)} clips in torch, to compare with")
    settings = model.description.captions
    assert settings is not None

    def describe(first: Run, then: Run) -> list[Hypothesis]:
        return [_search(first, then, one, settings) for one in inputs]

    expected = describe(_in_torch(encoder, frame_roles(clip)), _in_torch(step, _INTO_STEP))
    new_folder(output, overwrite=overwrite)
    parities = []
    for format in formats:
        folder = new_folder(output / format, overwrite=overwrite)
        files = _write(format, folder, model, encoder, step)
        found = describe(*(_open(format, file) for file in files))
        same = [one.words == other.words for one, other in zip(found, expected, strict=True)]
        gaps = [
            abs(one.log_probability - other.log_probability)
            for one, other in zip(found, expected, strict=True)
        ]
        parity = CaptionParity(
            format=format,
            num_clips=len(clips),
            num_same_sentence=sum(same),
            largest_difference=max(gaps),
            megabytes=sum(file.stat().st_size for file in folder.iterdir()) / 1e6,
        )
        if parity.failure:
            for file in folder.iterdir():
                file.unlink()
            raise ExportError(
                f"The export differs from the model ({format}: {parity.failure}). It was removed.",
                hint="Leave this format out, and report it with the versions of torch and its "
                "runtime.",
            )
        parities.append(parity)
        write_text_atomically(folder / "README.md", _readme(model, format, files, parity))
    return tuple(parities)


def _modules(model: Model) -> tuple[nn.Module, nn.Module]:
    """Build the encoder, from frames, and the decoder step, in eval mode."""
    captioner = load_captioner(model)
    encoder = build_network(model, _Start(captioner))
    return encoder, captioner.decoder.eval().requires_grad_(False)


def _examples(model: Model, encoder: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return inputs to trace encoder and step with; the step's batch, the beam, is free."""
    clip = model.description.clip
    shape = (1, clip.num_frames, *clip.picture_shape)
    frames = [torch.zeros(shape, dtype=torch.uint8) for _ in frame_roles(clip)]
    with torch.inference_mode():
        memory, evidence, hidden, cell = encoder(*frames)
    beam = [torch.cat([one, one]).clone() for one in (hidden, cell, memory, evidence)]
    return frames, [torch.zeros(2, dtype=torch.long), *beam]


def _write(
    format: Format, folder: Path, model: Model, encoder: nn.Module, step: nn.Module
) -> tuple[Path, Path]:
    """Write both graphs and vocabulary.json."""
    roles, examples = frame_roles(model.description.clip), _examples(model, encoder)
    name, suffix = model.description.name, ".onnx" if format == "onnx" else ".xml"
    files = folder / f"{name}-encoder{suffix}", folder / f"{name}-step{suffix}"
    graphs: tuple[tuple[Any, ...], ...] = (
        (encoder, examples[0], roles, _OF_ENCODER, ({},) * len(roles)),
        (step, examples[1], _INTO_STEP, _OF_STEP, ({0: "beam"},) * len(_INTO_STEP)),
    )
    for file, (module, example, names, results, free) in zip(files, graphs, strict=True):
        if format == "onnx":
            _write_onnx(file, module, example, (*names, *results), free)
        else:
            _write_openvino(file, module, example, names, results, is_step=module is step)
    write_json(folder / "vocabulary.json", list(model.description.labels))
    return files


def _write_onnx(
    file: Path,
    module: nn.Module,
    examples: Sequence[Tensor],
    names: Sequence[str],
    free: Sequence[Mapping[int, str]],
) -> None:
    import onnx

    shapes: Any = tuple(dict.fromkeys(sizes, torch.export.Dim.DYNAMIC) for sizes in free)
    if isinstance(module, ClipNetwork):
        shapes = (shapes,)  # its inputs are one parameter, *images
    program = export_program(module, examples, shapes)
    count = len(names) - len(examples)
    results = ({0: "beam"} if free[0] else {},) * count
    onnx.save_model(to_onnx(program, names=names, free=(*free, *results)), file)


def _write_openvino(
    file: Path,
    module: nn.Module,
    examples: Sequence[Tensor],
    names: Sequence[str],
    results: Sequence[str],
    *,
    is_step: bool,
) -> None:
    with quiet_jit():
        script = torch.jit.trace(  # type: ignore[no-untyped-call]
            module, tuple(examples), check_trace=False
        )
    shapes = [(-1 if is_step else one.shape[0], *one.shape[1:]) for one in examples]
    graph = convert_to_openvino(script, example_input=tuple(examples), input=shapes)
    for port, name in zip((*graph.inputs, *graph.outputs), (*names, *results), strict=True):
        port.get_tensor().set_names({name})
    import_openvino().save_model(graph, file, compress_to_fp16=False)


def _open(format: Format, file: Path) -> Run:
    """Load a graph into its runtime."""
    if format == "onnx":
        from activity_cli.features.engines.onnx import open_session

        session = open_session(str(file), optimise=True)
        return lambda inputs: session.run(None, dict(inputs))
    core = openvino_core()
    compiled = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: [found.copy() for found in compiled(dict(inputs)).values()]


def _in_torch(module: nn.Module, names: Sequence[str]) -> Run:
    def run(inputs: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
        with torch.inference_mode():
            return [one.numpy() for one in module(*(torch.from_numpy(inputs[n]) for n in names))]

    return run


def _search(first: Run, then: Run, frames: Mapping[str, NDArray[Any]], settings: Any) -> Hypothesis:
    """Return the best sentence by beam search over two graphs."""
    memory, evidence, hidden, cell = first(frames)

    def step(
        words: NDArray[np.int64], states: Sequence[Floats]
    ) -> tuple[Floats, Floats, Sequence[Floats]]:
        size = len(words)
        logs, attention, *after = then(
            {
                "word": words,
                "hidden": states[0],
                "cell": states[1],
                "memory": np.repeat(memory, size, axis=0),
                "evidence": np.repeat(evidence, size, axis=0),
            }
        )
        return logs, attention, after

    return search([hidden, cell], step, settings)[0]


def _readme(model: Model, format: Format, files: Sequence[Path], parity: CaptionParity) -> str:
    """Return the README of one format, with the loop."""
    loads = {
        "onnx": (
            "import onnxruntime\n",
            'onnxruntime.InferenceSession("{}").run',
            "encode(None, frames)",
            "step(None, inputs)",
        ),
        "openvino": (
            "import openvino\n",
            'openvino.compile_model("{}", "CPU")',
            "encode(frames).values()",
            "step(inputs).values()",
        ),
    }[str(format)]
    clip = model.description.clip
    return _README.substitute(
        name=model.description.name,
        format=str(format),
        encoder=files[0].name,
        step=files[1].name,
        imports=loads[0],
        open_encoder=loads[1].format(files[0].name),
        open_step=loads[1].format(files[1].name),
        call_encoder=loads[2],
        call_step=loads[3],
        roles=", ".join(frame_roles(clip)),
        shape=json.dumps([1, clip.num_frames, *clip.picture_shape]),
        preprocessing=describe_preprocessing(model.description),
        most_words=model.description.captions.max_words if model.description.captions else 0,
        num_clips=parity.num_clips,
        difference=f"{parity.largest_difference:.1e}",
        first_role=frame_roles(clip)[0],
    )
