"""What surrounds the face: long hair, shoulders, neck and ears, as flat polygons."""

import math

import cv2
import numpy as np

from fabnet.pose import Pose
from stages.synthetic.renderer.camera import Camera
from stages.synthetic.renderer.canvas import FRACTION_BITS, Image, colour, fixed
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import Array

NECK_HALF_WIDTH = 0.46
SHOULDERS_Y = 1.25
NECK_STRIPS = 10
CHIN_SHADOW = 150 / 255


class Body:
    """Draws one person's body onto `image`; the shoulders stay upright when the head turns."""

    def __init__(self, image: Image, person: Identity, camera: Camera, pose: Pose) -> None:
        self.image, self.camera, self.pose = image, camera, pose
        self.shape, self.appearance = person.shape, person.appearance
        light = person.light
        self.key, self.key_strength = light.key, light.key_strength
        brightness = light.ambient + 0.55 * light.key_strength + 0.4 * light.fill_strength
        self.light = float(np.clip(brightness, 0.4, 1)) * light.tint
        unit = camera.px_per_unit
        self.upright = lambda xy: np.asarray(xy, float) * unit + camera.centre_xy_px

    def draw(self) -> None:
        if self.appearance.hair_style == "long":
            self._back_hair()
        self._shoulders()
        neck = self._neck_outline()
        self._neck(neck)
        self._chin_shadow(neck)
        if self.appearance.open_collar:
            self._collar()
        if self.appearance.hair_style != "long":
            self._ears()

    def _fill(self, polygon_px: Array, base: Array, factor: float) -> None:
        cv2.fillPoly(self.image, [fixed(polygon_px)], colour(base * self.light, factor), cv2.LINE_AA, FRACTION_BITS)

    def _project(self, points: Array) -> Array:
        return self.camera.project(points, self.pose)

    def _back_hair(self) -> None:
        turn = np.linspace(math.pi, 0, 20)
        half = self.shape.half_width + self.appearance.hair_lift + 0.08
        crown = np.stack([half * np.cos(turn), -0.45 - 0.9 * np.sin(turn)], 1)
        ends = np.array([(half + 0.12, 0.6), (half + 0.05, 1.25), (-half - 0.05, 1.25), (-half - 0.12, 0.6)])
        flat = np.concatenate([crown, ends])
        self._fill(self._project(np.column_stack([flat, np.full(len(flat), -0.35)])), self.appearance.hair, 0.62)

    def _shoulders(self) -> None:
        """They extend beyond the lower edge of the image."""
        bottom = (self.camera.height_px + 60 - self.camera.centre_xy_px[1]) / self.camera.px_per_unit
        right = [(1.1 * NECK_HALF_WIDTH, 0), (0.9, 0.18), (1.55, 0.5)]
        half = np.array([(x, SHOULDERS_Y + y) for x, y in right] + [(1.8, max(bottom, SHOULDERS_Y + 0.5))])
        self._fill(self.upright(np.concatenate([half, half[::-1] * (-1, 1)])), self.appearance.cloth, 0.9)

    def _neck_outline(self) -> Array:
        """Corners (4, 2) in pixels: top left, top right, bottom right, bottom left; the top moves with the head."""
        unit = self.camera.px_per_unit
        top = self._project(np.array([0, 0.45, -0.25]))
        bottom = self.upright((0, SHOULDERS_Y + 0.25))
        half = np.array([NECK_HALF_WIDTH * unit, 0])
        return np.array([top - half, top + half, bottom + 1.08 * half, bottom - 1.08 * half])

    def _neck(self, outline_px: Array) -> None:
        """Vertical strips of a cylinder, shaded by the key light."""
        edges = np.linspace(0, 1, NECK_STRIPS + 1)[:, None]
        top = outline_px[0] + (outline_px[1] - outline_px[0]) * edges
        bottom = outline_px[3] + (outline_px[2] - outline_px[3]) * edges
        overlap = (0.6, 0)
        for strip in range(NECK_STRIPS):
            across = 2 * (strip + 0.5) / NECK_STRIPS - 1
            facing = max(0.0, across * self.key[0] + math.sqrt(1 - across**2) * self.key[2])
            quad = np.array([top[strip], top[strip + 1] + overlap, bottom[strip + 1] + overlap, bottom[strip]])
            self._fill(quad, self.appearance.skin, 0.42 + 0.42 * facing * self.key_strength / 0.55)

    def _chin_shadow(self, neck_px: Array) -> None:
        unit = self.camera.px_per_unit
        chin = self._project(np.array([0, self.shape.chin_y, 0.5]))
        left, right = neck_px[0], neck_px[1]
        side_y = chin[1] + 0.10 * unit
        shadow = np.array([left, right, (right[0], side_y), (chin[0], chin[1] + 0.22 * unit), (left[0], side_y)])
        mask = np.zeros(self.image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [fixed(shadow)], (255 * CHIN_SHADOW,), cv2.LINE_AA, FRACTION_BITS)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.05 * unit)
        neck = np.zeros_like(mask)
        cv2.fillPoly(neck, [fixed(neck_px)], (255.0,), cv2.LINE_AA, FRACTION_BITS)
        light = 255 - cv2.multiply(mask, neck, scale=1 / 255)
        self.image[:] = cv2.multiply(self.image, cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), scale=1 / 255)

    def _collar(self) -> None:
        half = NECK_HALF_WIDTH
        neckline = [(-1.1 * half, 0), (-0.2 * half, 0.30), (0, 0.36), (0.2 * half, 0.30), (1.1 * half, 0)]
        self._fill(self.upright([(x, SHOULDERS_Y + y) for x, y in neckline]), self.appearance.skin, 0.72)

    def _ears(self) -> None:
        turn = np.linspace(0, 2 * math.pi, 20)
        out, up = 0.5 - 0.5 * np.cos(turn), np.sin(turn)
        root = self.shape.half_width * 0.96
        for side in (-1, 1):
            shell = np.stack([side * (root + 0.13 * out), -0.15 + 0.23 * up - 0.03 * out, 0.05 - 0.20 * out], 1)
            hollow = np.stack([side * (root + 0.04 + 0.055 * out), -0.15 + 0.14 * up, 0.03 - 0.11 * out], 1)
            self._fill(self._project(shell), self.appearance.skin, 0.80)
            self._fill(self._project(hollow), self.appearance.skin, 0.58)
