"""A figure of Matplotlib that notebooks show by themselves, without pyplot; imports Matplotlib."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A `Figure` with the method that IPython, and with it Jupyter, asks for a picture."""

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, format="png")
        return png.getvalue()
