"""The boxes around the picture: empty until the page has drawn it.

Each widget is a message to the browser and a view there, which the first picture would wait for.
"""

from __future__ import annotations

from typing import Any

import ipywidgets

#: As high as a row of tools, so that the picture stays where it is when they come.
_ROW = "32px"


class Surround:
    """Places for tools above the picture, a photo over it, and words below it.

    Parameters
    ----------
    renderer : pythreejs.Renderer
        Draws the picture.
    ears : sequence of ipywidgets.Widget
        What listens to the page; with it, the picture takes the cell's width.

    Attributes
    ----------
    widget : ipywidgets.Widget
        All of it.
    """

    def __init__(self, renderer: Any, ears: tuple[Any, ...]) -> None:
        self._renderer = renderer
        self._above = ipywidgets.VBox(layout={"min_height": _ROW}, _dom_classes=("recon3d-row",))
        self._below = ipywidgets.VBox(layout=self._above.layout, _dom_classes=("recon3d-row",))
        self._picture = ipywidgets.VBox(
            [renderer], layout={"overflow": "hidden"}, _dom_classes=("recon3d-picture",)
        )
        self.widget = ipywidgets.VBox(
            [self._above, self._picture, self._below, *ears],
            layout={"width": "100%" if ears else None},
            _dom_classes=("recon3d-viewer",),
        )

    def put_above(self, *rows: Any) -> None:
        """Put rows above the picture.

        Parameters
        ----------
        *rows
            Widgets; those that are there already stay.
        """
        self._above.children = (*self._above.children, *rows)

    def put_below(self, row: Any) -> None:
        """Put a row below the picture.

        Parameters
        ----------
        row : ipywidgets.Widget
        """
        self._below.children = (row,)

    def lay_over(self, part: Any) -> None:
        """Lay something over the picture.

        Parameters
        ----------
        part : ipywidgets.Widget
        """
        self._picture.children = (self._renderer, part)

    def close(self) -> None:
        """Free the browser's memory."""
        for box in (self.widget, self._above, self._picture, self._below):
            box.close()
