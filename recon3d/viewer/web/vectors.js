// --- vectors and matrices -------------------------------------------------------------------------
const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const norm = (a) => Math.hypot(a[0], a[1], a[2]);
const unit = (a) => { const n = norm(a) || 1; return [a[0] / n, a[1] / n, a[2] / n]; };
const times = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const mix = (a, b, t) => [a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), a[2] + t * (b[2] - a[2])];
function product(a, b) {
  const out = new Float32Array(16);
  for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++) {
    let sum = 0;
    for (let k = 0; k < 4; k++) sum += a[k * 4 + r] * b[c * 4 + k];
    out[c * 4 + r] = sum;
  }
  return out;
}
// Distance along a ray to a triangle (Moeller and Trumbore 1997), or Infinity.
function meet(eye, way, a, b, c) {
  const ab = sub(b, a), ac = sub(c, a), h = cross(way, ac), det = dot(ab, h);
  if (Math.abs(det) < 1e-20) return Infinity;
  const s = sub(eye, a), u = dot(s, h) / det;
  if (u < 0 || u > 1) return Infinity;
  const q = cross(s, ab), v = dot(way, q) / det;
  if (v < 0 || u + v > 1) return Infinity;
  const t = dot(ac, q) / det;
  return t > 0 ? t : Infinity;
}
