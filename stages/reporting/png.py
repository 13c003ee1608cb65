"""PNG bytes of matplotlib figures, and the two colours of their text."""

import io

from matplotlib.figure import Figure

INK, SOFT = "#222222", "#666666"


def encode(figure: Figure, dpi: int) -> bytes:
    """The figure's pixels, without the name and version of matplotlib: equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
