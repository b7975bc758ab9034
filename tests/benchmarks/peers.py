"""What a clip costs, side by side: this program, what people write today, and other runtimes.

    python -m tests.benchmarks.peers CLIPS [--plot peers.png] [--only NAME]

CPU seconds per clip, of decoding and networks, the same clips in turns, one thread each; the median
round counts. Peers are the usual script: OpenCV reads all frames, some are picked and resized, a
network in torch (eager) scores clip after clip. Their weights are random: that is their speed, not
their accuracy, and nothing is downloaded. With ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2
it shows what a CPU without AVX-512 and AMX takes.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from activity_cli.cli.settings import SPEEDS
from activity_cli.common.cache import default_cache_dir
from activity_cli.common.optional_dependencies import import_torchvision
from activity_cli.common.processes import limit_threads
from activity_cli.errors import ActivityError
from activity_cli.features.action_weights import action_weights_file
from activity_cli.features.backbones import find_backbone
from activity_cli.features.engines.choice import Engine, Precision
from activity_cli.features.lite0 import EfficientNetLite0
from activity_cli.features.streams import load_streams
from activity_cli.settings import ClipSettings, Stream
from activity_cli.video.clips import read_clip
from tests.benchmarks.throughput import pick

NUM_FRAMES = 16
MEAN = torch.tensor([123.7, 116.3, 103.5]).view(3, 1, 1)
STD = torch.tensor([58.4, 57.1, 57.4]).view(3, 1, 1)

Score = Callable[[Path], object]


def main() -> None:
    """Score the same clips in turns; print the costs, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--only", action="append", default=[], help="peers with this in their name")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    limit_threads(1)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clips = pick(arguments.clips, arguments.count)
    costs: dict[str, list[float]] = {}
    peers = {
        name: make
        for name, make in all_peers(arguments.precision)
        if not arguments.only or any(part in name for part in arguments.only)
    }
    ready: dict[str, Score] = {}
    for name, make in peers.items():
        try:
            ready[name] = make()
            ready[name](clips[0])  # the first call of anything is slower
        except (ImportError, OSError, RuntimeError, ActivityError) as error:
            ready.pop(name, None)
            print(f"{name}: left out ({str(error).splitlines()[0]})", flush=True)
    with torch.inference_mode():
        for _ in range(arguments.rounds):
            for name, score in ready.items():
                started = time.process_time()
                for clip in clips:
                    score(clip)
                costs.setdefault(name, []).append((time.process_time() - started) / len(clips))
    medians = {name: statistics.median(values) for name, values in costs.items()}
    ours = next((cost for name, cost in medians.items() if "balanced" in name), 1.0)
    for name, cost in medians.items():
        print(f"{name:42s} {cost:7.3f} CPU s a clip   {cost / ours:6.2f} times `balanced`")
    if arguments.plot:
        draw(medians, arguments.plot)


def all_peers(precision: Precision) -> Iterator[tuple[str, Callable[[], Score]]]:
    """Yield names, and what builds each peer."""
    both: tuple[Stream, ...] = ("rgb", "motion")
    former = partial(our_peer, both, "best", "fp32")
    yield "activity best in fp32, as it was: rgb+motion", former
    for speed in SPEEDS:
        yield f"activity {speed}: rgb+motion", partial(our_peer, both, speed, precision)
    more: tuple[tuple[Stream, ...], ...] = (("action",), ("motion", "action"), (*both, "action"))
    for streams in more:
        name = f"activity: {'+'.join(streams)}"
        yield name, partial(our_peer, streams, "balanced", precision)
    onnx = partial(our_peer, both, "best", "fp32", "onnx")
    yield "best in fp32 in ONNX Runtime: rgb+motion", onnx
    yield "torch eager, Lite0, both streams", lite0_peer
    for name in ("resnet50", "resnet152", "inception_v3"):
        yield f"torch eager, {name} + LSTM", partial(cnn_peer, name)
    for name, side in (("r2plus1d_18", 112), ("s3d", 224), ("mvit_v2_s", 224), ("swin3d_t", 224)):
        yield f"torchvision {name}", partial(video_peer, name, side)
    yield "LiteRT MoViNet-A0, frame by frame", litert_peer
    for name, read in (("OpenCV", opencv_frames), ("PyAV", pyav_frames)):
        yield f"decoding alone: {name}", partial(partial, read)
    yield "decoding alone: torchcodec", torchcodec_peer
    yield "decoding alone: decord", decord_peer
    alone = partial(read_clip, settings=ClipSettings(), num_threads=1)
    yield "decoding alone: activity, resized, stabilized", lambda: alone


def our_peer(
    streams: tuple[Stream, ...], speed: str, precision: Precision, engine: Any = "openvino"
) -> Score:
    """This program: decoding and networks; the classifier takes below 1 ms."""
    point = SPEEDS[speed]
    clip = ClipSettings(
        streams=streams, frame_size=round(224 * point.size), rgb_every=point.rgb_every
    )
    chosen = Engine(name=engine, device="cpu", precision=precision)
    extractor = load_streams(find_backbone(), clip, chosen, cache_dir=default_cache_dir())
    return lambda path: extractor.extract([read_clip(path, clip, num_threads=1).images])


class CnnLstm(nn.Module):
    """A CNN per picture, then an LSTM over the sequence."""

    def __init__(self, cnn: nn.Module, size: int) -> None:
        super().__init__()
        self.cnn = cnn
        self.lstm = nn.LSTM(size, 256, batch_first=True)
        self.head = nn.Linear(256, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.cnn(pictures).unsqueeze(0)  # (1, T, D)
        scores: Tensor = self.head(self.lstm(features)[0][:, -1])
        return scores


def lite0_peer() -> Score:
    """The same CNN on 16 pictures and 16 motion images of 224 x 224, LSTM."""
    lite0 = EfficientNetLite0()
    lite0._fc = nn.Identity()  # type: ignore[assignment]
    network = CnnLstm(lite0, 1280).eval()

    def score(clip: Path) -> Tensor:
        frames, earlier = read_pictures(clip, 224)
        motion = np.clip(128 + 2 * (frames.astype(np.int16) - earlier), 0, 255)
        scores: Tensor = network(torch.cat([normalise(frames), normalise(motion)]))
        return scores

    return score


def cnn_peer(name: str) -> Score:
    """A CNN of torchvision on 16 pictures, LSTM: HHTseng's and harvitronix's shape."""
    options = {"init_weights": False, "aux_logits": False} if "inception" in name else {}
    cnn = import_torchvision().models.get_model(name, weights=None, **options)
    size, cnn.fc = cnn.fc.in_features, nn.Identity()
    network, side = CnnLstm(cnn, size).eval(), 299 if "inception" in name else 224
    return lambda clip: network(normalise(read_pictures(clip, side)[0]))


def video_peer(name: str, side: int) -> Score:
    """A video network of torchvision on 16 pictures."""
    network = import_torchvision().models.get_model(name, weights=None).eval()

    def score(clip: Path) -> object:
        pictures = normalise(read_pictures(clip, side)[0])  # (T, 3, H, W)
        return network(pictures.transpose(0, 1).unsqueeze(0))

    return score


def litert_peer() -> Score:
    """MoViNet-A0-Stream in TFLite's interpreter, frame by frame."""
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(action_weights_file()), num_threads=1).get_signature_runner()
    inputs = run.get_input_details()

    def score(clip: Path) -> object:
        state = {name: np.zeros(i["shape"], i["dtype"]) for name, i in inputs.items()}
        for frame in read_pictures(clip, 172)[0]:
            state["image"] = (frame[None, None] / 255).astype(np.float32)
            state = run(**state)
            logits = state.pop("logits")
        return logits

    return score


def opencv_frames(clip: Path) -> list[NDArray[np.uint8]]:
    """All frames of a clip, BGR."""
    capture, frames = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]), []
    while (found := capture.read())[0]:
        frames.append(np.asarray(found[1], np.uint8))
    return frames


def pyav_frames(clip: Path) -> object:
    """The 16 frames by PyAV, which decodes all."""
    import av

    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = list(container.decode(video=0))
        return [frames[i].to_ndarray(format="rgb24") for i in middles(len(frames))]


def torchcodec_peer() -> Score:
    """The 16 frames by torchcodec."""
    from torchcodec.decoders import VideoDecoder

    def read(clip: Path) -> object:
        decoder = VideoDecoder(str(clip), num_ffmpeg_threads=1)
        return decoder.get_frames_at(indices=middles(len(decoder)).tolist())

    return read


def decord_peer() -> Score:
    """The 16 frames by decord."""
    import decord

    def read(clip: Path) -> object:
        reader = decord.VideoReader(str(clip), num_threads=1)
        return reader.get_batch(middles(len(reader)).tolist())

    return read


def middles(count: int) -> NDArray[np.int64]:
    """The frames in the middles of 16 equal parts."""
    return ((np.arange(NUM_FRAMES) + 0.5) * count / NUM_FRAMES).astype(np.int64)


def read_pictures(clip: Path, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All frames, then the ones in the middles of equal parts and those two earlier."""
    frames = opencv_frames(clip)

    def shrink(index: int) -> NDArray[np.uint8]:
        small = cv2.resize(frames[max(0, index)], (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)

    indices = middles(len(frames))
    return np.stack([shrink(i) for i in indices]), np.stack([shrink(i - 2) for i in indices])


def normalise(pictures: NDArray[np.integer]) -> Tensor:
    """(T, H, W, 3) to (T, 3, H, W), as torchvision's transforms leave it."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - MEAN) / STD


def draw(costs: dict[str, float], file: Path) -> None:
    """Draw the costs as bars, this program's in another colour."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.32 * len(costs) + 1), layout="constrained")
    axes = figure.subplots()
    names = sorted(costs, key=lambda name: -costs[name])
    colours = ["tab:orange" if name.startswith("activity") else "tab:grey" for name in names]
    bars = axes.barh(names, [costs[name] for name in names], color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.margins(x=0.1)
    figure.supxlabel("CPU seconds per two-second clip; peers with random weights", fontsize=10)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
