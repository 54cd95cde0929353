"""What the page tells about itself: the width of the cell, full screen, keys, and that it has drawn.

pythreejs has no such events. A few lines of JavaScript write them into a hidden text field, whose
widget brings them to Python. Where a page refuses scripts, the picture keeps its first size.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from typing import Any

import ipywidgets

#: Keys that are told, as browsers name them.
TURNING = ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "+", "=", "-", "_")
FLYING = ("w", "a", "s", "d")
#: Height of a picture as a part of its width, and its limits in pixels.
_SHAPE, _LOWEST, _HIGHEST = 0.58, 240, 640

_SCRIPT = """
const root = this.closest('.recon3d-viewer');
if (root && !root.dataset.listens) {
  root.dataset.listens = 'yes';
  root.dataset.lmSuppressShortcuts = 'true';
  const ear = root.querySelector('.recon3d-ear input');
  const picture = root.querySelector('.recon3d-picture');
  const tell = what => {
    ear.value = JSON.stringify({...what, at: performance.now()});
    ear.dispatchEvent(new Event('input', {bubbles: true}));
    ear.dispatchEvent(new Event('change', {bubbles: true}));
  };
  let known = '';
  const measure = () => {
    const full = document.fullscreenElement === root;
    const width = Math.floor(root.clientWidth) - 4;
    const rest = [...root.querySelectorAll('.recon3d-row')].reduce((sum, row) => sum + row.offsetHeight, 0);
    const height = full ? window.innerHeight - rest - 12 : 0;
    const size = width + ' ' + height;
    if (width > 100 && size !== known) { known = size; tell({size: [width, height]}); }
  };
  let due;
  new ResizeObserver(() => { clearTimeout(due); due = setTimeout(measure, 120); }).observe(root);
  document.addEventListener('fullscreenchange', measure);
  // The tools are not there yet.
  root.addEventListener('click', event => event.target.closest('.recon3d-full') &&
    (document.fullscreenElement === root ? document.exitFullscreen() : root.requestFullscreen()));
  const label = () => root.querySelectorAll('.recon3d-row button[title]').forEach(button =>
    button.textContent.trim() || button.setAttribute('aria-label', button.title));
  root.querySelectorAll('.recon3d-row').forEach(row =>
    new MutationObserver(label).observe(row, {childList: true, subtree: true}));
  label();
  picture.tabIndex = 0;
  picture.setAttribute('aria-label', 'The model. Arrows turn it, plus and minus zoom.');
  picture.addEventListener('pointerdown', () => picture.focus({preventScroll: true}));
  picture.addEventListener('keydown', event => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.altKey || event.metaKey || !KEYS.includes(key)) return;
    event.preventDefault();
    event.stopPropagation();
    tell({key});
  });
  measure();
  const draw = () => {
    if (!root.isConnected) return;
    if (!picture.querySelector('canvas')) { setTimeout(draw, 40); return; }
    requestAnimationFrame(() => requestAnimationFrame(() => tell({drawn: true})));
  };
  draw();
}
"""


class Ear:
    """The hidden field.

    Parameters
    ----------
    on_size : callable
        Receives width and height in pixels that the picture may have.
    on_key : callable
        Receives a key of `TURNING` or `FLYING`.
    on_drawn : callable
        Called when the first picture is on the screen.

    Attributes
    ----------
    widgets : tuple of ipywidgets.Widget
    """

    def __init__(
        self,
        on_size: Callable[[int, int], None],
        on_key: Callable[[str], None],
        on_drawn: Callable[[], None],
    ) -> None:
        self._on_size, self._on_key, self._on_drawn = on_size, on_key, on_drawn
        self._field = ipywidgets.Text(
            continuous_update=True, layout={"display": "none"}, _dom_classes=("recon3d-ear",)
        )
        self._field.observe(self._hear, "value")
        script = _SCRIPT.replace("KEYS", json.dumps([*TURNING, *FLYING]))
        # A picture that fails runs its handler when the page has put it in, also when loaded again.
        image = f'<img src="data:," onerror="{html.escape(script)}">'
        self.widgets = (self._field, ipywidgets.HTML(image, layout=self._field.layout))

    def _hear(self, change: dict[str, Any]) -> None:
        try:
            told = dict(json.loads(change["new"]))
            if "size" in told:
                width, height = (int(side) for side in told["size"])
                wanted = height or min(max(round(_SHAPE * width), _LOWEST), _HIGHEST)
                self._on_size(min(width, 8192), min(max(wanted, _LOWEST), 8192))
            elif told.get("key") in (*TURNING, *FLYING):
                self._on_key(told["key"])
            elif told.get("drawn"):
                self._on_drawn()
        except (ValueError, TypeError, KeyError):  # nobody but the script writes here
            return
