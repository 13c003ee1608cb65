"""One rendered person: everything that stays the same from picture to picture."""

from dataclasses import dataclass

import numpy as np

from stages.synthetic.studio import anatomy, hair, skin
from stages.synthetic.studio.anatomy import Light, Looks
from stages.synthetic.studio.canvas import Image
from stages.synthetic.studio.hair import Hair
from stages.synthetic.studio.head import Shape


@dataclass(frozen=True)
class Identity:
    shape: Shape
    looks: Looks
    light: Light
    skin: Image
    hair: Hair


def draw(rng: np.random.Generator) -> Identity:
    """A person drawn from `rng`, and the light they are seen in; takes some 50 ms."""
    shape, looks, light = anatomy.draw_shape(rng), anatomy.draw_looks(rng), anatomy.draw_light(rng)
    return Identity(shape, looks, light, skin.paint(shape, looks, rng), hair.grow(shape, looks, rng))
