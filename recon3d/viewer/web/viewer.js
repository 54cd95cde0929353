// --- the viewer, and how a page opens it ---------------------------------------------------------------
class Viewer {
  constructor(root, gl, canvas, stage, model, options) {
    Object.assign(this, { root, gl, canvas, stage, model, style: model.picture || model.vertexColors ? "textured" : "shaded", pointSize: 2, flying: false, embed: !!options.embed, keys: options.keys || root });
    this.ending = new AbortController();
    this.clip = { on: false, low: model.low.slice(), high: model.high.slice() };
    this.setTheme(options.theme === "light" || options.theme === "dark" ? options.theme : matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
    this.surfaces = new Surfaces(gl, model, () => this.painter.draw());
    // Another model of the subject, left of a divider.
    const { other, titles } = model;
    this.other = other && new Surfaces(gl, other, () => this.painter.draw());
    this.picker = new Picker(this);
    this.photos = new PhotoView(this);
    this.measures = new Measures(this);
    this.camera = new OrbitCamera(this);
    this.overlay = new Overlay(this);
    this.split = other ? new Split(this, titles) : null;
    this.painter = new Painter(this);
    this.hand = new Hand(this);
    canvas.addEventListener("webglcontextlost", (e) => { e.preventDefault(); stage.append(h("p", { class: "r3d-sorry" }, STRINGS.lost)); });
    this.sizes = new ResizeObserver(() => this.resized());
    this.sizes.observe(stage);
    root.classList.toggle("r3d-embed", this.embed);
    this.size = `${canvas.clientWidth} ${canvas.clientHeight}`;
    // At once: until the next frame, the browser would read on in the page.
    this.painter.paint(performance.now());
    if (model.rest || (other && other.rest)) this.arrive(); else this.panel = new Panel(this);
  }

  get models() { return this.other ? [this.surfaces, this.other] : [this.surfaces]; }

  // After the first picture, the whole takes the place of the draft, which is kept for slow machines' hands;
  // the panel needs to know the whole.
  async arrive() {
    await seen();
    await loaded();
    if (this.closed) return;
    for (const name of ["surfaces", "other"]) {
      const before = this[name], { rest, ...draft } = before ? before.model : {};
      if (!rest) continue;
      const model = { ...draft, ...rest() };
      const made = new Surfaces(this.gl, model, () => this.painter.draw());
      await made.ready;
      if (this.closed) return;
      made.coarse = before;
      this[name] = made;
      if (name === "surfaces") this.model = model;
    }
    this.panel = new Panel(this);
    this.painter.draw();
  }

  // The models in the picture, each with the part of its width where it is.
  get sides() { return this.split ? [[this.other, 0, this.split.part], [this.surfaces, this.split.part, 1]] : [[this.surfaces, 0, 1]]; }

  // A layer of that name, of all models.
  show(name, on) {
    for (const { layers } of this.models) for (const one of layers) if (one.name === name) one.on = on;
    this.painter.draw();
  }

  // A picture of another shape shows the same subject, unless a hand has moved the camera.
  resized() {
    const { clientWidth, clientHeight } = this.canvas, size = `${clientWidth} ${clientHeight}`;
    if (size === this.size) return; // observers tell the first size, too
    this.size = size;
    if (!this.camera.touched && !this.camera.pose) this.camera.fit(false);
    this.painter.draw();
  }

  setTheme(name) { this.theme = name; this.root.dataset.theme = name; if (this.painter) this.painter.draw(); }

  fit() { this.photos.hide(); this.camera.wake(); this.camera.fit(); }

  click(x, y) {
    if (this.measures.kind) {
      const place = this.picker.place(x, y);
      if (place) this.measures.add(place);
      return;
    }
    const index = this.picker.onCamera(x, y);
    if (index >= 0) this.photos.show(index);
  }

  doubleClick(x, y) {
    if (this.measures.kind) { if (this.measures.kind === "area") this.measures.finish(); else this.click(x, y); return; }
    const place = this.picker.place(x, y);
    if (place) { this.photos.hide(); this.camera.focus(place); }
  }

  escape() {
    if (this.measures.open) { this.measures.open = null; this.measures.changed(); } else if (this.photos.index >= 0) { this.photos.hide(); this.fit(); }
  }

  // The clip box in the coordinates of the reconstruction, as mesh_generation.region takes it.
  region() { return [add(this.clip.low, this.model.origin), add(this.clip.high, this.model.origin)].map((p) => p.map((v) => Number(v.toPrecision(7)))); }

  screen(p) { return this.camera.screen(p); }

  screenshot() { return new Promise((resolve) => this.canvas.toBlob(resolve, "image/png")); }

  async save() { download(await this.screenshot(), "view.png"); }

  fullScreen() { if (document.fullscreenElement) document.exitFullscreen(); else this.root.requestFullscreen().catch(() => {}); }

  complete() { this.root.dataset.complete = "yes"; this.camera.rest(); }

  close() {
    this.closed = true; this.ending.abort(); this.sizes.disconnect();
    const lose = this.gl.getExtension("WEBGL_lose_context");
    if (lose) lose.loseContext();
    this.root.replaceChildren();
  }
}

// When a picture has been on the screen.
const seen = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));

// When the whole page is there.
const loaded = () => new Promise((resolve) => {
  if (document.readyState !== "loading") resolve(); else addEventListener("DOMContentLoaded", resolve, { once: true });
});

// Show a model in an element: a GLB and a scene behind addresses, or the arrays inside the page.
async function open(root, options = {}) {
  Object.assign(STRINGS, options.strings);
  root.classList.add("recon3d");
  for (const sentence of root.querySelectorAll(".r3d-later")) sentence.remove();
  const canvas = h("canvas", { tabIndex: 0, "aria-label": STRINGS.picture, role: "application" }), stage = h("div", { class: "r3d-stage" }, canvas);
  // The copy of the picture is kept, for the sum of several and for screenshots.
  const gl = canvas.getContext("webgl2", { preserveDrawingBuffer: true, antialias: false, alpha: false });
  if (!gl) {
    root.classList.add("r3d-still");
    const still = options.still && !root.querySelector("img") ? [h("img", { src: options.still, alt: options.title || "" })] : [];
    root.append(...still, h("p", { class: "r3d-sorry", role: "status" }, STRINGS.noWebGL));
    return null;
  }
  const scene = await sceneOf(options.scene, options.headers);
  const model = scene.arrays ? embedded(scene.arrays) : await glbOf(options.model, options.headers, options.onProgress);
  const placed = !scene.arrays && scene.origin ? shifted(scene, sub(scene.origin, model.origin)) : scene.arrays ? scene : shifted(scene, times(model.origin, -1));
  const made = completed(model, placed);
  if (scene.other) made.other = completed(embedded(scene.other, "recon3d-other-"), { up: made.up });
  for (const key of ["title", "credit", "licence"]) if (options[key]) made[key] = options[key];
  root.append(stage);
  const viewer = new Viewer(root, gl, canvas, stage, made, options);
  root.viewer = viewer;
  return viewer;
}
