"""What is behind and below the head: a blurred room, shoulders, neck, ears and long hair, as flat polygons."""

import math

import cv2
import numpy as np

from fabnet.pose import Pose
from stages.synthetic.studio import noise
from stages.synthetic.studio.camera import Camera
from stages.synthetic.studio.canvas import FRACTION_BITS, Image, colour, fixed
from stages.synthetic.studio.identity import Identity
from stages.synthetic.studio.layout import Array

NECK_HALF_WIDTH = 0.46
SHOULDERS_Y = 1.25
NECK_STRIPS = 10
CHIN_SHADOW = 150 / 255


def background(rng: np.random.Generator, height_px: int, width_px: int) -> Image:
    """A gradient with soft noise and up to eight boxes or discs, out of focus."""
    saturation = rng.uniform(0.1, 0.6)
    first, second = _random_colour(rng, saturation), _random_colour(rng, saturation)
    across, down = rng.uniform(-1, 1), rng.uniform(-1, 1)
    slope = np.linspace(0, across, width_px)[None] + np.linspace(0, down, height_px)[:, None]
    slope = (slope - slope.min()) / max(float(np.ptp(slope)), 1e-6)
    picture = first + (second - first) * slope[..., None]
    picture += noise.field(rng, height_px, width_px, 50, 3) * rng.uniform(0, 12)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 9)):
        _place_thing(picture, rng, colour(_random_colour(rng, saturation)))
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(1.2, 6)), np.uint8)


def _random_colour(rng: np.random.Generator, saturation: float) -> Array:
    vivid = rng.uniform(10, 245, 3)
    return vivid.mean() * (1 - saturation) + vivid * saturation


def _place_thing(picture: Image, rng: np.random.Generator, fill: tuple[float, ...]) -> None:
    height_px, width_px = picture.shape[:2]
    x, y = int(rng.integers(-20, width_px)), int(rng.integers(-20, height_px))
    w, h = int(rng.integers(10, width_px // 2)), int(rng.integers(10, height_px))
    if rng.random() < 0.7:
        cv2.rectangle(picture, (x, y), (x + w, y + h), fill, -1)
    else:
        cv2.circle(picture, (x, y), w // 2, fill, -1)


class Body:
    """Draws one person's body under one pose; shoulders stay upright while the head turns."""

    def __init__(self, picture: Image, who: Identity, camera: Camera, pose: Pose) -> None:
        self.picture, self.shape, self.looks, self.camera, self.pose = picture, who.shape, who.looks, camera, pose
        light = who.light
        self.key, self.key_strength = light.key, light.key_strength
        brightness = light.ambient + 0.55 * light.key_strength + 0.4 * light.fill_strength
        self.light = float(np.clip(brightness, 0.4, 1)) * light.tint
        unit = camera.px_per_unit
        self.upright = lambda xy: np.asarray(xy, float) * unit + camera.centre_xy_px

    def draw(self) -> None:
        if self.looks.hair_style == "long":
            self._back_hair()
        self._shoulders()
        neck = self._neck_outline()
        self._neck(neck)
        self._chin_shadow(neck)
        if self.looks.open_collar:
            self._collar()
        if self.looks.hair_style != "long":
            self._ears()

    def _fill(self, polygon_px: Array, base: Array, factor: float) -> None:
        cv2.fillPoly(self.picture, [fixed(polygon_px)], colour(base * self.light, factor), cv2.LINE_AA, FRACTION_BITS)

    def _project(self, points: Array) -> Array:
        return self.camera.project(points, self.pose)

    def _back_hair(self) -> None:
        turn = np.linspace(math.pi, 0, 20)
        half = self.shape.half_width + self.looks.hair_lift + 0.08
        crown = np.stack([half * np.cos(turn), -0.45 - 0.9 * np.sin(turn)], 1)
        ends = np.array([(half + 0.12, 0.6), (half + 0.05, 1.25), (-half - 0.05, 1.25), (-half - 0.12, 0.6)])
        flat = np.concatenate([crown, ends])
        self._fill(self._project(np.column_stack([flat, np.full(len(flat), -0.35)])), self.looks.hair, 0.62)

    def _shoulders(self) -> None:
        """Down to below the lower edge of the picture."""
        bottom = (self.camera.height_px + 60 - self.camera.centre_xy_px[1]) / self.camera.px_per_unit
        right = [(1.1 * NECK_HALF_WIDTH, 0), (0.9, 0.18), (1.55, 0.5)]
        half = np.array([(x, SHOULDERS_Y + y) for x, y in right] + [(1.8, max(bottom, SHOULDERS_Y + 0.5))])
        self._fill(self.upright(np.concatenate([half, half[::-1] * (-1, 1)])), self.looks.cloth, 0.9)

    def _neck_outline(self) -> Array:
        """Top left, top right, bottom right, bottom left in pixels; the top follows the head."""
        unit = self.camera.px_per_unit
        top = self._project(np.array([0, 0.45, -0.25]))
        bottom = self.upright((0, SHOULDERS_Y + 0.25))
        half = np.array([NECK_HALF_WIDTH * unit, 0])
        return np.array([top - half, top + half, bottom + 1.08 * half, bottom - 1.08 * half])

    def _neck(self, outline_px: Array) -> None:
        """A cylinder in vertical strips, lit by the key light."""
        edges = np.linspace(0, 1, NECK_STRIPS + 1)[:, None]
        top = outline_px[0] + (outline_px[1] - outline_px[0]) * edges
        bottom = outline_px[3] + (outline_px[2] - outline_px[3]) * edges
        overlap = (0.6, 0)
        for strip in range(NECK_STRIPS):
            across = 2 * (strip + 0.5) / NECK_STRIPS - 1
            facing = max(0.0, across * self.key[0] + math.sqrt(1 - across**2) * self.key[2])
            quad = np.array([top[strip], top[strip + 1] + overlap, bottom[strip + 1] + overlap, bottom[strip]])
            self._fill(quad, self.looks.skin, 0.42 + 0.42 * facing * self.key_strength / 0.55)

    def _chin_shadow(self, neck_px: Array) -> None:
        unit = self.camera.px_per_unit
        chin = self._project(np.array([0, self.shape.chin_y, 0.5]))
        left, right = neck_px[0], neck_px[1]
        side_y = chin[1] + 0.10 * unit
        shadow = np.array([left, right, (right[0], side_y), (chin[0], chin[1] + 0.22 * unit), (left[0], side_y)])
        mask = np.zeros(self.picture.shape[:2], np.uint8)
        cv2.fillPoly(mask, [fixed(shadow)], (255 * CHIN_SHADOW,), cv2.LINE_AA, FRACTION_BITS)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.05 * unit)
        neck = np.zeros_like(mask)
        cv2.fillPoly(neck, [fixed(neck_px)], (255.0,), cv2.LINE_AA, FRACTION_BITS)
        light = 255 - cv2.multiply(mask, neck, scale=1 / 255)
        self.picture[:] = cv2.multiply(self.picture, cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), scale=1 / 255)

    def _collar(self) -> None:
        half = NECK_HALF_WIDTH
        neckline = [(-1.1 * half, 0), (-0.2 * half, 0.30), (0, 0.36), (0.2 * half, 0.30), (1.1 * half, 0)]
        self._fill(self.upright([(x, SHOULDERS_Y + y) for x, y in neckline]), self.looks.skin, 0.72)

    def _ears(self) -> None:
        turn = np.linspace(0, 2 * math.pi, 20)
        out, up = 0.5 - 0.5 * np.cos(turn), np.sin(turn)
        root = self.shape.half_width * 0.96
        for side in (-1, 1):
            shell = np.stack([side * (root + 0.13 * out), -0.15 + 0.23 * up - 0.03 * out, 0.05 - 0.20 * out], 1)
            hollow = np.stack([side * (root + 0.04 + 0.055 * out), -0.15 + 0.14 * up, 0.03 - 0.11 * out], 1)
            self._fill(self._project(shell), self.looks.skin, 0.80)
            self._fill(self._project(hollow), self.looks.skin, 0.58)
