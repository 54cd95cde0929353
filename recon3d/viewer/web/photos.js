// --- photos: a camera's own place, its photo over the model, and its depth map beside it ---------------------
class PhotoView {
  constructor(viewer) {
    Object.assign(this, { viewer, index: -1 });
    this.image = h("img", { class: "r3d-overlay", alt: "", hidden: true });
    this.slider = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0.6, "data-part": "opacity", "aria-label": STRINGS.opacity });
    this.name = h("span", { class: "r3d-name", "data-part": "photo-name" });
    this.pair = h("div", { class: "r3d-pair", hidden: true, "data-part": "pair" });
    this.strip = h("div", { class: "r3d-strip", hidden: true, "data-part": "strip" });
    const button = (part, text, act) => h("button", { type: "button", "data-part": part, onclick: act }, text);
    this.beside = button("beside", STRINGS.beside, () => this.showPair(this.pair.hidden));
    this.bar = h("div", { class: "r3d-photobar", hidden: true }, button("previous", "‹", () => this.step(-1)), this.name, button("next", "›", () => this.step(1)),
      h("label", {}, STRINGS.opacity, this.slider), this.beside, button("leave-photo", STRINGS.close, () => viewer.escape()));
    this.slider.oninput = () => { this.image.style.opacity = this.slider.value; };
    viewer.stage.append(this.image, this.pair, this.strip, this.bar);
  }

  get cameras() { return this.viewer.model.cameras; }

  step(by) { const n = this.cameras.length; this.show((this.index + by + n) % n); }

  // Fly to a camera and lay its photo over the model.
  show(index) {
    const camera = this.cameras[index];
    this.index = index;
    this.name.textContent = camera.name;
    this.image.hidden = true;
    if (camera.photo) { this.image.src = camera.photo; this.image.hidden = false; }
    this.image.style.opacity = this.slider.value;
    this.beside.hidden = !camera.photo;
    this.bar.hidden = false;
    if (!this.pair.hidden) this.showPair(true);
    this.viewer.camera.goTo(index);
  }

  hide() { this.index = -1; this.image.hidden = this.bar.hidden = this.pair.hidden = true; }

  showPair(on) {
    const { photo, depth } = this.cameras[this.index] || {};
    this.pair.hidden = !on || !photo;
    const figure = (source, text) => h("figure", {}, source ? h("img", { src: source, alt: text }) : h("div", { class: "r3d-none" }, STRINGS.noDepth), h("figcaption", {}, text));
    this.pair.replaceChildren(figure(photo, STRINGS.frame), figure(depth, STRINGS.depthMap));
  }

  // Thumbnails of all photos.
  showStrip(on) {
    if (on && !this.strip.childElementCount) this.strip.append(...this.cameras.map((camera, i) =>
      h("button", { type: "button", title: camera.name, onclick: () => this.show(i) }, camera.photo ? h("img", { src: camera.photo, alt: camera.name, loading: "lazy" }) : camera.name)));
    this.strip.hidden = !on;
    this.viewer.root.classList.toggle("r3d-with-strip", on);
  }

  // The photo covers what its camera sees, once the flight has ended.
  place(screen) {
    if (this.image.hidden || this.index < 0) return;
    const { camera } = this.viewer;
    this.image.style.visibility = camera.photo === this.index && !camera.flight ? "visible" : "hidden";
    const { corners } = this.cameras[this.index], first = screen(corners[0]), last = screen(corners[2]);
    Object.assign(this.image.style, { left: first[0] + "px", top: first[1] + "px", width: last[0] - first[0] + "px", height: last[1] - first[1] + "px" });
  }
}
