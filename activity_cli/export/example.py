"""The program in an export's README: it scores a video with the runtime alone, without activity."""

from collections.abc import Mapping
from textwrap import dedent

from activity_cli.model.folder import ModelDescription
from activity_cli.predict.exported.metadata import DOCUMENT_KEY, Format, Part
from activity_cli.settings import ClipSettings
from activity_cli.types import frame_roles
from activity_cli.video.motion import FLOW_GAIN, MAX_SHIFT, MIN_GAIN, MIN_RESPONSE, MIN_SHIFT, STILL

RUNTIME_PACKAGES: dict[Format, str] = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "torchscript": "torch",
    "torch-export": "torch",
}
_STACKS = {
    "frames": "frames[chosen]",
    "earlier": "frames[earlier]",
    "later": "frames[later]",
    "flow": "flow",
}


def write_example(
    format: Format,
    description: ModelDescription,
    files: Mapping[Part, str],
) -> str:
    """The program's text; its argument is a video. It runs in the folder of the files."""
    clip = description.clip
    made = {**_STACKS, "earlier": "steadied"} if clip.stabilize else _STACKS
    stacks: dict[str, str] = {role: made[role] for role in frame_roles(clip)}
    if "whole" in files:
        inputs = {name: f"{stack}[None]" for name, stack in stacks.items()}
        score = f"scores = {_call(format, 'whole', inputs)}\n"
    else:
        score = _score_in_two_steps(format, description, stacks)
    return (
        "import json, sys\n"
        f"import cv2, numpy as np, {_import(format)}\n"
        "\n"
        f"{_load(format, files)}"
        f"{_read_frames(clip)}"
        f"{_pair_frames(clip) if clip.compares_frames else ''}"
        f"{_steady_frames(clip) if clip.compares_frames and clip.stabilize else ''}"
        f"{_find_flow(made['earlier']) if 'flow' in clip.streams else ''}"
        f"{score}"
        "print(labels[scores[0].argmax()], scores[0].max())\n"
    )


def _import(format: Format) -> str:
    package = RUNTIME_PACKAGES[format]
    return f"{package} as ov" if format == "openvino" else package


def _load(format: Format, files: Mapping[Part, str]) -> str:
    """Open each graph under the name of its part; the labels come from the last one."""
    labels = {
        "onnx": '{part}.get_modelmeta().custom_metadata_map["labels"]',
        "openvino": f'{{part}}_model.get_rt_info(["{DOCUMENT_KEY}", "labels"]).astype(str)',
        "torchscript": 'texts["labels.json"]',
        "torch-export": 'texts["labels.json"]',
    }[format]
    opening = {
        "onnx": '{part} = onnxruntime.InferenceSession("{file}")\n',
        "openvino": '{part}_model = ov.Core().read_model("{file}")\n'
        '{part} = ov.compile_model({part}_model, "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})\n',
        "torchscript": '{part} = torch.jit.load("{file}", _extra_files=texts)\n',
        "torch-export": '{part} = torch.export.load("{file}", extra_files=texts).module()\n',
    }[format]
    texts = 'texts = {"labels.json": ""}\n' if RUNTIME_PACKAGES[format] == "torch" else ""
    opened = "".join(opening.format(part=part, file=file) for part, file in files.items())
    return f"{texts}{opened}labels = json.loads({labels.format(part=list(files)[-1])})\n"


def _read_frames(clip: ClipSettings) -> str:
    side, count = clip.frame_size, clip.num_frames
    colours = {3: "cv2.COLOR_BGR2RGB)", 1: "cv2.COLOR_BGR2GRAY)[..., None]"}[clip.channels]
    return dedent(f"""\
        video, frames = cv2.VideoCapture(sys.argv[1]), []
        while (image := video.read()[1]) is not None:
            while min(image.shape[:2]) >= {2 * side}:  # large ones are halved first
                image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            image = cv2.resize(image, ({side}, {side}), interpolation=cv2.INTER_AREA)
            frames.append(cv2.cvtColor(image, {colours})
        frames = np.array(frames)
        chosen = ((np.arange({count}) + 0.5) * len(frames) / {count}).astype(int)
        """)


def _pair_frames(clip: ClipSettings) -> str:
    return dedent(f"""\
        later = np.clip(chosen, 1, len(frames) - 1)
        step = max(1, round(video.get(cv2.CAP_PROP_FPS) * {clip.motion_step_seconds:.4f}))
        earlier = np.maximum(later - step, 0)
        """)


def _steady_frames(clip: ClipSettings) -> str:
    side = clip.frame_size
    grey = "cv2.cvtColor({}, cv2.COLOR_RGB2GRAY)" if clip.channels == 3 else "{}"
    before, after = (f"np.float32({grey.format(name)})" for name in "ab")
    return dedent(f"""\
        window, steadied = cv2.createHanningWindow(({side}, {side}), cv2.CV_32F), []
        for a, b in zip(frames[earlier], frames[later]):  # the camera's shaking is no motion
            (x, y), response = cv2.phaseCorrelate({before}, {after}, window)
            moved = cv2.warpAffine(a, np.float32([[1, 0, x], [0, 1, y]]), ({side}, {side}),
                                   borderMode=cv2.BORDER_REPLICATE).reshape(a.shape)
            shakes = response >= {MIN_RESPONSE} and {MIN_SHIFT} < max(abs(x), abs(y)) < {MAX_SHIFT}
            gain = 1 - cv2.norm(moved, b, cv2.NORM_L1) / max(cv2.norm(a, b, cv2.NORM_L1), 1)
            steadied.append(moved if shakes and gain > {MIN_GAIN} else a)
        steadied = np.array(steadied)
        """)


def _find_flow(earlier: str) -> str:
    return dedent(f"""\
        search, flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), []
        for a, b in zip({earlier}, frames[later]):  # where everything went, as a picture
            a, b = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (a, b))
            moved = {FLOW_GAIN:g} * search.calc(a, b, None)
            length = np.linalg.norm(moved, axis=-1, keepdims=True)
            flow.append(np.concatenate([{STILL} + moved, length], axis=-1))
        flow = np.array(flow).round().clip(0, 255).astype(np.uint8)
        """)


def _score_in_two_steps(
    format: Format,
    description: ModelDescription,
    stacks: Mapping[str, str],
) -> str:
    """Motion images and the order of the streams are in no graph of a split export."""
    clip = description.clip
    streams = [stacks["frames"]] if "rgb" in clip.streams else []
    motion = ""
    if "motion" in clip.streams:
        motion = (
            f"before, after = {stacks['earlier']}, {stacks['later']}\n"
            f"motion = 128 + {clip.motion_gain} * (after.astype(np.float32) - before)\n"
            "motion = motion.round().clip(0, 255).astype(np.uint8)\n"
        )
        streams.append("motion")
    if "flow" in clip.streams:
        streams.append(stacks["flow"])
    shape = f"1, {len(streams)}, {clip.num_frames}, {description.backbone.feature_size}"
    frames = f"np.concatenate([{', '.join(streams)}])"
    return (
        f"{motion}"
        f"features = {_call(format, 'cnn', {'frames': frames})}.reshape({shape})\n"
        f"scores = {_call(format, 'classifier', {'features': 'features'})}\n"
    )


def _call(format: Format, part: Part, inputs: Mapping[str, str]) -> str:
    names = ", ".join(f'"{name}": {value}' for name, value in inputs.items())
    values = ", ".join(f"torch.from_numpy({value})" for value in inputs.values())
    match format:
        case "onnx":
            return f"{part}.run(None, {{{names}}})[0]"
        case "openvino":
            return f"{part}({{{names}}})[0]"
        case "torchscript" | "torch-export":
            return f"{part}({values}).numpy()"
