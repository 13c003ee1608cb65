"""The frontal texture of a face: skin, folds and features under one expression."""

from stages.synthetic.renderer import features, folds
from stages.synthetic.renderer.canvas import Canvas, Image
from stages.synthetic.renderer.expression import ActionUnits
from stages.synthetic.renderer.identity import Identity
from stages.synthetic.renderer.layout import Array


def paint(person: Identity, points: Array, au: ActionUnits, gaze: tuple[float, float]) -> Image:
    """The texture (540, 400, 3) BGR of `person`, given the inner points (51, 2) and the gaze (right, down)."""
    image = folds.darken(person.skin, person.shape, points, au)
    on = Canvas(image)
    features.paint_nostrils(on, points, person.appearance)
    features.paint_brows(on, points, person.appearance)
    features.paint_eyes(on, person, points, au, gaze)
    features.paint_mouth(on, person, points, au)
    if person.appearance.glasses:
        features.paint_glasses(on, person.shape.points)
    return image
