"""Cutting and scaling of uint8 images (H, W, 3); outer edges of images are aligned, not pixel centres."""

import cv2
import numpy as np
from numpy.typing import NDArray

from fabnet.boxes import PixelBox, centre_box

Image = NDArray[np.uint8]

MAX_CUT_PX = 8_192


def cut(image: Image, box: PixelBox) -> Image:
    """The pixels inside the box; black where it leaves the image."""
    x0, y0, x1, y1 = box
    height, width = image.shape[:2]
    if 0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height:
        return image[y0:y1, x0:x1].copy()
    result = np.zeros((y1 - y0, x1 - x0, *image.shape[2:]), np.uint8)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if left < right and top < bottom:
        result[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    return result


def resize(image: Image, width: int, height: int) -> Image:
    """The image scaled to `width` x `height`; its outer edges stay outer edges, its aspect may change.

    A side that shrinks is averaged over the area of each new pixel, a side that grows is interpolated linearly. An
    image that has the size already is returned as it is.
    """
    smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
    if smaller != image.shape[1::-1]:
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    if smaller != (width, height):
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return image


def face_crop(image: Image, box: PixelBox, crop_px: int) -> Image:
    """The crop of a face in a still image, (crop_px, crop_px, 3): the pixels in the box, scaled to a square.

    A box of more than MAX_CUT_PX may reach far out of the image: it is cut from the image made a whole number of times
    smaller, which takes 200 MB at most. With `crop_px` 0 the pixels stay as they are.
    `fabnet.modules.face_crop.Crop` describes this function and `fabnet.boxes.crop_box` in words.
    """
    shrink = -(-max(box[2] - box[0], box[3] - box[1]) // MAX_CUT_PX)
    if shrink > 1:
        height, width = image.shape[:2]
        image = resize(image, max(1, width // shrink), max(1, height // shrink))
        x0, y0, x1, y1 = (edge // shrink for edge in box)
        box = x0, y0, x1, y1
    pixels = cut(image, box)
    return resize(pixels, crop_px, crop_px) if crop_px else pixels


def scale_pad_centre(image: Image, scale_px: int, pad_ltrb_px: tuple[int, int, int, int], centre_px: int) -> Image:
    """The crop of a track's frame: scaled to a square, padded with black (left, top, right, bottom), its centre."""
    return cut(resize(image, scale_px, scale_px), centre_box(scale_px, pad_ltrb_px, centre_px))
