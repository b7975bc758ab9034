"""Features from the real CNN, and the cache that must never change them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from activity_cli.features.action_weights import FEATURE_SIZE
from activity_cli.features.backbones import Backbone, find_backbone
from activity_cli.features.cache import feature_cache
from activity_cli.features.engines.choice import Engine, load_action_extractor
from activity_cli.features.extraction import (
    ClipRequest,
    ExtractedClip,
    clip_identity,
    extract_features,
)
from activity_cli.features.labelled import DataConfig, FeatureTable, gather_features
from activity_cli.features.streams import StreamExtractor, StreamFeatures, load_streams
from activity_cli.settings import CNN_STREAMS, AugmentSettings, ClipSettings, Stream
from activity_cli.types import Images, Status
from activity_cli.video.augmentation import training_views
from activity_cli.video.clips import read_clip, read_clips
from activity_cli.video.decoder_pool import DecoderPool
from tests.action_weights import real_weights
from tests.media import noise_pictures, write_video

SETTINGS = ClipSettings(num_frames=4)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return find_backbone()


@pytest.fixture(scope="module")
def extractor(backbone: Backbone, prepared: Path) -> StreamExtractor:
    engine = Engine(name="openvino", device="cpu")
    return load_streams(backbone, SETTINGS, engine, cache_dir=prepared)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool() as pool:
        yield pool


class Reader:
    """Extracts one clip, with and without its cache."""

    def __init__(
        self, clip: Path, backbone: Backbone, extractor: StreamExtractor, pool: DecoderPool
    ) -> None:
        self.clip, self.backbone, self.extractor = clip, backbone, extractor
        self.pool = pool
        self.cache = feature_cache(clip.parent)

    def read(
        self, settings: ClipSettings = SETTINGS, *, start: float | None = None, cached: bool = True
    ) -> ExtractedClip:
        [clip] = extract_features(
            [ClipRequest(path=self.clip, start_seconds=start)],
            settings,
            extractor=self.extractor,
            backbone=self.backbone,
            pool=self.pool,
            cache=self.cache if cached else None,
        )
        return clip

    def table(self, augment: AugmentSettings) -> FeatureTable:
        config = DataConfig(backbone=self.backbone, clip=SETTINGS, cache_dir=self.clip.parent)
        requests = [ClipRequest(path=self.clip)]
        return gather_features(requests, config, self.extractor, self.pool, augment)

    def entries(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.cache.folder.rglob("*.features")}


@pytest.fixture
def reader(
    tmp_path: Path, backbone: Backbone, extractor: StreamExtractor, pool: DecoderPool
) -> Reader:
    clip = write_video(tmp_path / "clip.mp4", noise_pictures(20), fps=10)
    return Reader(clip, backbone, extractor, pool)


def test_the_cache_gives_back_what_was_extracted(reader: Reader) -> None:
    fresh, first, again = reader.read(cached=False), reader.read(), reader.read()

    assert fresh.values is not None
    assert fresh.values.shape == (2, 4, 1280)
    for clip in (first, again):
        np.testing.assert_array_equal(clip.values, fresh.values)
        assert clip.decoded is not None
        np.testing.assert_allclose(clip.decoded.seconds, [0.2, 0.7, 1.2, 1.7])
        assert (clip.decoded.num_frames, clip.status) == (20, Status.OK)


def test_streams_are_served_apart_and_completed(reader: Reader) -> None:
    rgb = reader.read(replace(SETTINGS, streams=("rgb",)))
    both = reader.read()
    motion = reader.read(replace(SETTINGS, streams=("motion",)))
    whole = reader.read(replace(SETTINGS, streams=CNN_STREAMS))

    assert len(reader.entries()) == 1
    assert both.values is not None
    assert whole.values is not None
    np.testing.assert_array_equal(both.values, whole.values[:2])
    np.testing.assert_array_equal(rgb.values, both.values[:1])
    np.testing.assert_array_equal(motion.values, both.values[1:])


def test_rgb_shows_every_other_frame_and_the_cnn_sees_each_picture_once(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    both: tuple[Stream, ...] = ("rgb", "action")
    settings = replace(SETTINGS, num_frames=5, streams=("rgb",))
    every, held = reader.read(settings), replace(settings, rgb_every=2, streams=both)
    clip = read_clip(reader.clip, held)
    cnn, seen = reader.extractor.networks[0], []
    assert cnn is not None
    extract = cnn.extract

    def counted(images: Images) -> NDArray[np.float32]:
        seen.append(len(images))
        return extract(images)

    monkeypatch.setattr(cnn, "extract", counted)
    [features] = reader.extractor.extract([{"rgb": clip.images["rgb"]}])

    assert every.values is not None
    np.testing.assert_array_equal(features["rgb"], every.values[0, [1, 1, 3, 3, 4], :])
    assert seen == [3]
    plain_settings = replace(held, rgb_every=1)
    plain = read_clip(reader.clip, plain_settings)
    np.testing.assert_array_equal(clip.images["action"], plain.images["action"])
    assert "rgb_every" not in plain_settings.to_json()  # the features of older models stay valid


def test_cached_streams_are_kept_when_action_is_added(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVITY_WEIGHTS", str(real_weights().parent))
    settings = replace(SETTINGS, streams=("rgb", "motion", "action"))
    before = reader.read()
    engine = Engine(name="torch", device="cpu")
    action = load_action_extractor(engine, cache_dir=tmp_path, num_frames=4, frame_size=224)
    frames = reader.extractor.networks[0]
    reader.extractor = StreamExtractor(
        lambda: (frames, action),
        identity=reader.extractor.identity,
        feature_size=action.feature_size,
    )
    monkeypatch.setattr(frames, "extract", None)  # it must not be called

    both = reader.read(settings)
    alone = reader.read(replace(settings, streams=("action",)))

    assert both.values is not None
    assert alone.values is not None
    assert both.values.shape == (3, 4, FEATURE_SIZE)
    np.testing.assert_array_equal(both.values[:2, :, :1280], before.values)
    assert not both.values[:2, :, 1280:].any()
    np.testing.assert_array_equal(both.values[2:], alone.values)
    assert alone.values.any()
    assert len(reader.entries()) == 1


def test_other_settings_and_pieces_are_kept_apart(reader: Reader) -> None:
    clips = [
        reader.read(),
        reader.read(replace(SETTINGS, motion_gain=4.0)),
        reader.read(replace(SETTINGS, num_frames=5)),
        reader.read(start=0.5),
    ]

    assert len(reader.entries()) == 4
    assert len({clip.values.tobytes() for clip in clips if clip.values is not None}) == 4


def test_views_are_kept_beside_the_clip_by_content_and_seed(reader: Reader) -> None:
    augment = AugmentSettings(num_views=2, flip=True)
    plain = reader.read()
    before = reader.entries()

    first = reader.table(augment)
    kept = reader.entries()
    again = reader.table(augment)
    other_seed = reader.table(replace(augment, seed=1))

    assert first.values.shape == (1, 2, 4, 1280)
    assert first.views.shape == (1, 2, 2, 4, 1280)
    np.testing.assert_array_equal(first.values[0], plain.values)
    assert kept.items() > before.items()  # the plain entry is what it was without views
    assert (len(before), len(kept), len(reader.entries())) == (1, 3, 5)
    np.testing.assert_array_equal(again.views, first.views)
    assert (other_seed.views != first.views).any(axis=(-1, -2)).all()

    # What is cached is what the CNN says of the view's pictures; a copy has the same views.
    moved = reader.clip.rename(reader.clip.with_name("copy.mp4"))
    views = training_views(augment)(clip_identity(ClipRequest(path=moved)))
    for number, clip in enumerate(read_clips(moved, SETTINGS, views[1:])):
        [seen] = reader.extractor.extract([clip.images])
        stacked = np.stack([seen[stream] for stream in SETTINGS.streams])
        np.testing.assert_array_equal(first.views[0, number], stacked)


def test_the_same_view_twice_is_computed_once(reader: Reader) -> None:
    flips = AugmentSettings(num_views=3).only(["flip"])  # mirrored, plain, mirrored

    table = reader.table(flips)

    assert len(reader.entries()) == 2
    np.testing.assert_array_equal(table.views[0, 0], table.views[0, 2])
    np.testing.assert_array_equal(table.views[0, 1], table.values[0])
    assert (table.views[0, 0] != table.values[0]).any()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_entry_is_made_again(reader: Reader, damage: str) -> None:
    reader.read()
    [(path, good)] = reader.entries().items()
    flipped = bytes([*good[:-100], good[-100] ^ 1, *good[-99:]])
    path.write_bytes({"cut": good[: len(good) // 2], "flipped": flipped, "empty": b""}[damage])

    clip = reader.read()

    np.testing.assert_array_equal(clip.values, reader.read(cached=False).values)
    assert reader.entries() == {path: good}


def test_every_request_is_accounted_for_in_order(
    reader: Reader, backbone: Backbone, extractor: StreamExtractor
) -> None:
    folder = reader.clip.parent
    (folder / "text.mp4").write_text("no video")
    names = ["gone.mp4", "clip.mp4", "text.mp4", "clip.mp4"]

    config = DataConfig(backbone=backbone, clip=SETTINGS, cache_dir=folder)
    requests = [ClipRequest(path=folder / name) for name in names]
    table = gather_features(requests, config, extractor, reader.pool)

    assert [clip.request.path.name for clip in table.extracted] == names
    assert [str(clip.status) for clip in table.extracted] == ["missing", "ok", "unreadable", "ok"]
    assert table.rows.tolist() == [1, 3]
    np.testing.assert_array_equal(table.values[0], reader.read().values)
    np.testing.assert_array_equal(table.values[1], table.values[0])


class FailsOnDarkClips(StreamExtractor):
    """The real networks, but what computes them refuses dark pictures."""

    error = "could not execute a primitive"

    def extract(self, clips: Sequence[Mapping[Stream, Images]]) -> list[StreamFeatures]:
        if any(clip["rgb"].max() < 9 for clip in clips):
            raise RuntimeError(self.error)
        return super().extract(clips)


def test_a_clip_that_the_cnn_fails_on_costs_its_own_row_and_a_broken_cnn_ends_the_run(
    reader: Reader, backbone: Backbone, extractor: StreamExtractor
) -> None:
    dark = write_video(
        reader.clip.with_name("dark.mp4"), [np.zeros((32, 32, 3), np.uint8)] * 9, fps=10
    )
    failing = FailsOnDarkClips(
        lambda: extractor.networks, identity=extractor.identity, feature_size=1280
    )

    def statuses(*paths: Path) -> list[str]:
        requests = [ClipRequest(path=path) for path in paths]
        found = extract_features(
            requests, SETTINGS, extractor=failing, backbone=backbone, pool=reader.pool
        )
        return [f"{clip.status} {clip.reason}".strip() for clip in found]

    crashed = "crashed The CNN failed on this file: could not execute a primitive"
    assert statuses(reader.clip, dark, reader.clip) == ["ok", crashed, "ok"]
    with pytest.raises(RuntimeError, match="primitive"):
        statuses(dark, dark)  # two in a row, in whichever order they are decoded
    failing.error = "CUDA error: an illegal memory access was encountered"
    with pytest.raises(RuntimeError, match="CUDA"):
        statuses(dark, reader.clip)
