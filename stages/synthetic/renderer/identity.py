"""One synthetic person: everything that is the same in all images."""

from dataclasses import dataclass

import numpy as np

from stages.synthetic.renderer import appearance, hair, skin
from stages.synthetic.renderer.appearance import Appearance, Light
from stages.synthetic.renderer.canvas import Image
from stages.synthetic.renderer.hair import Hair
from stages.synthetic.renderer.head import Shape


@dataclass(frozen=True)
class Identity:
    shape: Shape
    appearance: Appearance
    light: Light
    skin: Image  # (540, 400, 3) BGR texture without features
    hair: Hair


def draw(rng: np.random.Generator) -> Identity:
    """A random person and the light on them; takes about 50 ms."""
    shape = appearance.draw_shape(rng)
    colours = appearance.draw_appearance(rng)
    light = appearance.draw_light(rng)
    return Identity(shape, colours, light, skin.paint(shape, colours, rng), hair.draw(shape, colours, rng))
