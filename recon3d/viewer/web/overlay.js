// --- lines and labels over the picture: measures and the clip box, drawn as SVG -----------------------------
const SVG = "http://www.w3.org/2000/svg";

class Overlay {
  constructor(viewer) {
    this.viewer = viewer;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("aria-hidden", "true");
    viewer.stage.append(this.svg);
  }

  now() { this.place(this.viewer.camera.frame().matrix); }

  place(matrix) {
    const { viewer } = this, { measures, clip, camera, photos } = viewer;
    this.svg.replaceChildren();
    if (clip.on) this.box(clip, matrix);
    for (const measure of [...measures.done, ...(measures.open ? [measures.open] : [])]) this.measure(measure, matrix);
    photos.place((p) => camera.screen(p, matrix));
  }

  line(ends, matrix, kind, closed = false) {
    const seen = ends.map((p) => this.viewer.camera.screen(p, matrix));
    if (seen.some((s) => s[2] <= 0)) return null;
    const line = document.createElementNS(SVG, closed ? "polygon" : "polyline");
    line.setAttribute("points", seen.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "));
    line.setAttribute("class", kind);
    this.svg.append(line);
    return seen;
  }

  measure(measure, matrix) {
    const { measures, camera } = this.viewer, { kind, points } = measure;
    let path = points;
    if (kind === "height" && points.length === 2) {
      const rise = dot(sub(points[1], points[0]), camera.up);
      path = [points[0], add(points[0], camera.up, rise), points[1]];
    }
    const seen = this.line(path, matrix, "measure", kind === "area" && points.length > 2);
    for (const p of points) {
      const [x, y, w] = camera.screen(p, matrix);
      if (w <= 0) continue;
      const dot = document.createElementNS(SVG, "circle");
      dot.setAttribute("cx", x.toFixed(1)); dot.setAttribute("cy", y.toFixed(1)); dot.setAttribute("r", "4.5");
      this.svg.append(dot);
    }
    const words = measures.words(measure);
    if (!seen || !words) return;
    const where = kind === "angle" ? seen[1] : kind === "area" ? middleOf(seen) : middleOf(seen.slice(0, 2));
    for (const shadow of ["shadow", "label"]) {
      const text = document.createElementNS(SVG, "text");
      text.setAttribute("x", where[0].toFixed(1)); text.setAttribute("y", (where[1] - 10).toFixed(1));
      text.setAttribute("class", shadow); text.textContent = words;
      this.svg.append(text);
    }
  }

  box({ low, high }, matrix) {
    const corner = (i) => [0, 1, 2].map((k) => (i >> k & 1 ? high : low)[k]);
    for (let i = 0; i < 8; i++) for (const bit of [1, 2, 4]) if (!(i & bit)) this.line([corner(i), corner(i | bit)], matrix, "clip");
  }
}

function middleOf(points) {
  return [0, 1].map((k) => points.reduce((sum, p) => sum + p[k] / points.length, 0));
}
