"""The shipped pipeline against what people write today: clips per second, same clips, same run.

    python -m tests.benchmarks.peers CLIPS

Each peer is the usual script: OpenCV reads all frames, some are picked and resized, a network in
torch (eager, all cores) scores one clip after the other. Weights are random, which does not change
the speed; nothing is downloaded.

    same CNN    EfficientNet-Lite0 on the same 16 pictures and 16 motion images, LSTM
    resnet152   ResNet-152 on 16 pictures of 224 x 224, LSTM
    r2plus1d    torchvision's r2plus1d_18 on 16 pictures of 112 x 112
    s3d         torchvision's s3d on 16 pictures of 224 x 224
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from activity_cli.common.optional_dependencies import import_torchvision
from activity_cli.features.engines.choice import find_gpu
from activity_cli.features.extraction import ClipRequest
from activity_cli.features.lite0 import EfficientNetLite0
from activity_cli.predict.predictor import PredictConfig, load_predictor
from activity_cli.settings import DEFAULT_MODEL
from tests.benchmarks.throughput import pick

NUM_FRAMES = 16
MEAN = torch.tensor([123.7, 116.3, 103.5]).view(3, 1, 1)
STD = torch.tensor([58.4, 57.1, 57.4]).view(3, 1, 1)

ClipScorer = Callable[[Path], Tensor]


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


def main() -> None:
    """Score the same clips in turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("clips", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    clips = pick(arguments.clips, arguments.count)

    peers = make_peers()
    predictor = load_predictor(DEFAULT_MODEL, PredictConfig(use_cache=False))
    for name, peer in peers.items():  # the first call of anything is slower
        assert peer(clips[0]).numel() > 0, name
    list(predictor.predict([ClipRequest(path=clips[0])]))

    rates: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        started = time.perf_counter()
        many = [ClipRequest(path=clip) for clip in clips * 4]  # a batch, as it is meant to be used
        assert all(result.prediction for result in predictor.predict(many))
        rates.setdefault("activity", []).append(len(many) / (time.perf_counter() - started))
        for name, peer in peers.items():
            started = time.perf_counter()
            with torch.inference_mode():
                for clip in clips:
                    peer(clip)
            rates.setdefault(name, []).append(len(clips) / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    where = f"GPU: {find_gpu()} (activity uses it, the peers do not)" if find_gpu() else "no GPU"
    print(f"{len(clips)} clips, {torch.get_num_threads()} cores, {where}")
    for name, rate in medians.items():
        ratio = medians["activity"] / rate
        print(f"{name:10s} {rate:6.2f} clips/s   activity is {ratio:5.1f} times as fast")


def make_peers() -> dict[str, ClipScorer]:
    """The other ways to score a clip."""
    models = import_torchvision().models
    lite0 = EfficientNetLite0()
    lite0._fc = nn.Identity()  # type: ignore[assignment]
    resnet = models.resnet152(weights=None)
    resnet.fc = nn.Identity()
    same = CnnLstm(lite0, 1280).eval()
    large = CnnLstm(resnet, 2048).eval()
    r2plus1d = models.video.r2plus1d_18(weights=None).eval()
    s3d = models.video.s3d(weights=None).eval()

    def both_streams(clip: Path) -> Tensor:
        frames, earlier = read_pictures(clip, 224)
        motion = np.clip(128 + 2 * (frames.astype(np.int16) - earlier), 0, 255)
        scores: Tensor = same(torch.cat([normalise(frames), normalise(motion)]))
        return scores

    def as_video(network: nn.Module, side: int) -> ClipScorer:
        def score(clip: Path) -> Tensor:
            pictures = normalise(read_pictures(clip, side)[0])  # (T, 3, H, W)
            scores: Tensor = network(pictures.transpose(0, 1).unsqueeze(0))
            return scores

        return score

    return {
        "same CNN": both_streams,
        "resnet152": lambda clip: large(normalise(read_pictures(clip, 224)[0])),
        "r2plus1d": as_video(r2plus1d, 112),
        "s3d": as_video(s3d, 224),
    }


def read_pictures(clip: Path, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All frames, then the ones in the middles of equal parts and those two earlier."""
    capture, frames = cv2.VideoCapture(str(clip)), []
    while True:
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(frame)
    middles = ((np.arange(NUM_FRAMES) + 0.5) * len(frames) / NUM_FRAMES).astype(int)

    def shrink(index: int) -> NDArray[np.uint8]:
        small = cv2.resize(frames[max(0, index)], (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), np.uint8)

    return np.stack([shrink(i) for i in middles]), np.stack([shrink(i - 2) for i in middles])


def normalise(pictures: NDArray[np.integer]) -> Tensor:
    """(T, H, W, 3) to (T, 3, H, W), as torchvision's transforms leave it."""
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() - MEAN) / STD


if __name__ == "__main__":
    main()
