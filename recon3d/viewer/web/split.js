// --- before and after: two models in one picture, with a divider between them ------------------------------
class Split {
  constructor(viewer, titles) {
    Object.assign(this, { viewer, part: 0.5 });
    const name = (at, text) => h("span", { class: "r3d-side", "data-part": at }, text);
    this.handle = h("div", {
      class: "r3d-split", role: "slider", tabIndex: 0, "aria-label": fill(STRINGS.split, { before: titles[0], after: titles[1] }),
      "aria-valuemin": 0, "aria-valuemax": 100, "data-part": "split",
    }, name("before", titles[0]), h("i"), name("after", titles[1]));
    const { handle } = this, { signal } = viewer.ending;
    const on = (kind, act) => handle.addEventListener(kind, act, { signal });
    on("pointerdown", (e) => { handle.setPointerCapture(e.pointerId); handle.focus({ preventScroll: true }); e.preventDefault(); });
    on("pointermove", (e) => {
      if (!handle.hasPointerCapture(e.pointerId)) return;
      const box = viewer.canvas.getBoundingClientRect();
      this.move((e.clientX - box.left) / box.width);
    });
    on("keydown", (e) => {
      const step = e.shiftKey ? 0.1 : 0.02;
      const to = { ArrowLeft: this.part - step, ArrowRight: this.part + step, Home: 0, End: 1 }[e.key];
      if (to === undefined) return;
      e.preventDefault(); e.stopPropagation(); // the same keys turn the model
      this.move(to);
    });
    viewer.stage.append(handle);
    this.move(0.5);
  }

  move(part) {
    this.part = Math.max(0, Math.min(1, part));
    this.handle.style.left = `${100 * this.part}%`;
    this.handle.setAttribute("aria-valuenow", String(Math.round(100 * this.part)));
    if (this.viewer.painter) this.viewer.painter.moving();
  }
}
