"""Two models side by side, seen from the same place."""

from __future__ import annotations

import base64
from functools import partial

import ipywidgets
import numpy as np

from recon3d.notebook.stand_in import show_with
from recon3d.notebook.viewer.viewer import Viewer
from recon3d.viewer.aligning import aligned
from recon3d.viewer.still import encode_png, quick_picture
from recon3d.viewer.thinning import Budget
from recon3d.viewer.view_content import Shown, content_of


class Comparison:
    """Two viewers with one camera.

    Attributes
    ----------
    left, right : Viewer
    aligned : bool
        Whether the right one was moved onto the left one by the cameras that they share.
    """

    def __init__(self, left: Viewer, right: Viewer, titles: tuple[str, str], aligned: bool) -> None:
        self.left, self.right, self.aligned = left, right, aligned
        self._following = False
        for one, other in ((left, right), (right, left)):
            one.navigation.on_move(partial(self._follow, one, other))
        self._follow(left, right)
        columns = [
            # No narrower than its picture, which would otherwise lie over its neighbour's.
            ipywidgets.VBox(
                [ipywidgets.Label(title), viewer.widget],
                layout={"flex": "0 1 auto", "min_width": f"{viewer.canvas.size[0] + 6}px"},
            )
            for title, viewer in zip(titles, (left, right), strict=True)
        ]
        self.widget = ipywidgets.HBox(columns, layout={"overflow": "auto"})

    def _follow(self, leader: Viewer, follower: Viewer) -> None:
        if self._following:
            return
        self._following = True
        try:
            follower.follow(leader)
        finally:
            self._following = False

    def close(self) -> None:
        """Free the browser's memory."""
        self.left.close()
        self.right.close()
        self.widget.close()

    def __repr__(self) -> str:
        how = "aligned" if self.aligned else "not aligned"
        return f"<Comparison: {self.left!r}, {self.right!r}, {how}>"

    def _ipython_display_(self) -> None:
        halves = [quick_picture(viewer.content, (480, 400)) for viewer in (self.left, self.right)]
        picture = base64.b64encode(encode_png(np.hstack(halves))).decode("ascii")
        show_with(self.widget, {"image/png": picture, "text/plain": repr(self)})


def compare(
    left: Shown,
    right: Shown,
    *,
    titles: tuple[str, str] = ("left", "right"),
    width: int = 420,
    height: int = 360,
    align: bool = True,
    budget: Budget | None = None,
) -> Comparison:
    """Show two models side by side; turning one turns the other.

    Parameters
    ----------
    left, right : Project, Scene, PointCloud, Mesh or TexturedMesh
        Two runs of one subject, say.
    titles : tuple of str
    width, height : int
        Size of each picture in pixels.
    align : bool
        Move the right model onto the left one by the least-squares similarity of the cameras that
        have the same names, where there are at least three; each run has its own world otherwise.
    budget : Budget, optional

    Returns
    -------
    Comparison
    """
    a, b = content_of(left, budget), content_of(right, budget)
    placed = aligned(b, a) if align else None
    viewers = [
        Viewer(shown, width=width, height=height, fill=False, content=content)
        # Relative to one origin, or one place would not be the same one in both.
        for shown, content in ((left, a), (right, placed or b.placed(1.0, np.eye(3), np.zeros(3), a.origin)))
    ]
    return Comparison(viewers[0], viewers[1], titles, placed is not None)
