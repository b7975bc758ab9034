"""The camera: from metres to pixels, held by a hand that drifts, zooms and shakes a little."""

from dataclasses import dataclass

import numpy as np

from activity_cli.sampledata.motion import Floats

FRAME_WIDTH, FRAME_HEIGHT = 320, 240
"""Size of the clips, in pixels."""
SUPERSAMPLING = 2
"""Pictures are drawn this much larger and then averaged down, which smooths every edge."""

_S = SUPERSAMPLING


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A level pinhole camera. Pixels are those of the supersampled picture."""

    focal: float
    horizon: float
    """Row at which things as high as the camera appear."""
    height: float
    """Metres above the floor."""
    distance: float
    """Metres to where the person stands."""

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Camera":
        """A camera that shows a grown-up from head to foot, with room to jump."""
        distance = rng.uniform(4.2, 5.0)
        height = rng.uniform(1.15, 1.45)
        focal = _S * rng.uniform(84, 94) * distance
        floor_row = _S * FRAME_HEIGHT * rng.uniform(0.89, 0.94)
        return cls(
            focal=focal,
            horizon=floor_row - focal * height / distance,
            height=height,
            distance=distance,
        )

    def see(self, points: Floats) -> Floats:
        """(..., 3) metres to the right, up and away from the camera -> (..., 2) pixels."""
        away = points[..., 2]
        return np.stack(
            [
                _S * FRAME_WIDTH / 2 + self.focal * points[..., 0] / away,
                self.horizon - self.focal * (points[..., 1] - self.height) / away,
            ],
            axis=-1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where somebody stands and which way they face."""

    x: float
    """Metres to the right of the picture's middle."""
    away: float
    """Metres from the camera."""
    facing: float
    """Radians; 0 faces right in the picture, a quarter turn faces the camera."""

    @classmethod
    def draw(cls, rng: np.random.Generator, camera: Camera) -> "Stand":
        """Somewhere near the middle, seen from the side or half from the front."""
        facing = rng.uniform(-0.2, 0.95)
        return cls(
            x=rng.uniform(-0.3, 0.3),
            away=camera.distance,
            facing=facing if rng.uniform() < 0.5 else np.pi - facing,
        )

    def place(self, points: Floats) -> Floats:
        """(..., 3) metres forward, up, right -> metres right of, above and away from the camera."""
        cos, sin = np.cos(self.facing), np.sin(self.facing)
        forward, up, right = points[..., 0], points[..., 1], points[..., 2]
        return np.stack(
            [
                self.x + forward * cos - right * sin,
                up,
                self.away - forward * sin - right * cos,
            ],
            axis=-1,
        )


def handheld(
    rng: np.random.Generator, seconds: Floats, followed: Floats, margin: tuple[float, float]
) -> Floats:
    """(T, 2, 3) maps from where things are drawn to where the moving camera shows them.

    Args:
        rng: Source of drift, zoom and shake.
        seconds: (T,) time of each frame.
        followed: (T,) pixels by which a subject moves sideways, followed in part.
        margin: The most pixels that the picture may shift sideways and up.
    """
    part = seconds / seconds[-1] - 0.5
    zoom = rng.uniform(1.0, 1.06) * np.exp(rng.uniform(-0.05, 0.05) * part)
    drift = rng.uniform(-9, 9, (2, 1)) * _S * part * np.array([[1.0], [0.5]])
    rates, phases = rng.uniform(0.5, 2.2, (2, 2, 1)), rng.uniform(0, 2 * np.pi, (2, 2, 1))
    strength = rng.uniform(0, 0.9) * _S
    shake = strength * np.sin(2 * np.pi * rates * seconds + phases).sum(axis=1)
    drift = drift + shake
    drift[0] -= 0.55 * followed
    limits = np.array(margin)[:, None]
    drift = np.clip(drift, -limits, limits)
    maps = np.zeros((len(seconds), 2, 3))
    middle = _S * np.array([FRAME_WIDTH / 2, FRAME_HEIGHT / 2])
    for axis in (0, 1):
        maps[:, axis, axis] = zoom
        maps[:, axis, 2] = middle[axis] * (1 - zoom) + drift[axis]
    return maps
