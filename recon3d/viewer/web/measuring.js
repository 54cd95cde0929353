// --- measuring: distances, angles, areas and heights, several at once ------------------------------------
const NEEDED = { distance: 2, height: 2, angle: 3, area: Infinity };

class Measures {
  constructor(viewer) { Object.assign(this, { viewer, done: [], open: null, kind: "", scale: viewer.model.scale }); }

  get unit() { return this.scale ? "m" : this.viewer.model.unit; }

  choose(kind) { this.kind = kind; this.open = null; this.viewer.panel.measures(); this.viewer.overlay.now(); }

  add(point) {
    this.open = this.open || { kind: this.kind, points: [] };
    this.open.points.push(point);
    if (this.open.points.length >= NEEDED[this.kind]) this.finish(); else this.changed();
  }

  // An area ends by a double click, by its first point, or by the button.
  finish() {
    const { open } = this;
    if (open && open.points.length >= Math.min(3, NEEDED[open.kind])) this.done.push(open);
    this.open = null; this.changed();
  }

  remove(index) { this.done.splice(index, 1); this.changed(); }

  clear() { this.done = []; this.open = null; this.changed(); }

  changed() { this.viewer.panel.measures(); this.viewer.overlay.now(); }

  // In metres or units of the model, degrees for an angle; null before there are enough points.
  value({ kind, points }) {
    const s = this.scale || 1;
    if (points.length < Math.min(3, NEEDED[kind])) return null;
    if (kind === "distance") return s * norm(sub(points[1], points[0]));
    if (kind === "height") return s * Math.abs(dot(sub(points[1], points[0]), this.viewer.camera.up));
    if (kind === "angle") {
      const a = unit(sub(points[0], points[1])), b = unit(sub(points[2], points[1]));
      return Math.acos(Math.max(-1, Math.min(1, dot(a, b)))) * 180 / Math.PI;
    }
    // The area that a flat polygon has (Newell); of a bent one its shadow on the mean plane.
    let sum = [0, 0, 0];
    for (let i = 1; i + 1 < points.length; i++) sum = add(sum, cross(sub(points[i], points[0]), sub(points[i + 1], points[0])), 0.5);
    return s * s * norm(sum);
  }

  unitOf(kind) { return kind === "angle" ? "°" : this.unit && this.unit + (kind === "area" ? "²" : ""); }

  words(measure) {
    const value = this.value(measure), u = this.unitOf(measure.kind);
    return value === null ? "" : value.toPrecision(4) + (u === "°" ? u : u && " " + u);
  }

  setScale(metres) {
    const last = [...this.done].reverse().find((m) => m.kind === "distance");
    const length = last && norm(sub(last.points[1], last.points[0]));
    if (!(metres > 0) || !length) return;
    this.scale = metres / length;
    this.viewer.panel.about(); this.changed();
  }

  csv() {
    const { origin } = this.viewer.model, place = (p) => add(p, origin).map((v) => v.toPrecision(9)).join(" ");
    const rows = this.done.map((m) => [m.kind, this.value(m).toPrecision(9), this.unitOf(m.kind), ...m.points.map(place)].join(","));
    return ["kind,value,unit,points (x y z in the reconstruction)", ...rows, ""].join("\r\n");
  }
}
