"""The frontal picture of a face: the bare skin with what an expression paints over it."""

from stages.synthetic.studio import features, folds
from stages.synthetic.studio.canvas import Canvas, Image
from stages.synthetic.studio.expression import ActionUnits
from stages.synthetic.studio.identity import Identity
from stages.synthetic.studio.layout import Array


def paint(who: Identity, points: Array, au: ActionUnits, gaze: tuple[float, float]) -> Image:
    """The face of `who` with its inner points at `points` (51, 2); (540, 400, 3) BGR."""
    picture = folds.darken(who.skin, who.shape, points, au)
    on = Canvas(picture)
    features.paint_nostrils(on, points, who.looks)
    features.paint_brows(on, points, who.looks)
    features.paint_eyes(on, who, points, au, gaze)
    features.paint_mouth(on, who, points, au)
    if who.looks.glasses:
        features.paint_glasses(on, who.shape.points)
    return picture
