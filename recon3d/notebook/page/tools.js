// --- camera -------------------------------------------------------------------------------------
let up, side, front, yaw, pitch, distance, target, radius, home;
function setUp(axis) {
  const k = "xyz".indexOf(axis[1]);
  up = k < 0 || axis === "scene" ? unit(data.up) : [0, 1, 2].map((i) => (i === k ? (axis[0] === "-" ? -1 : 1) : 0));
  side = unit(Math.abs(up[0]) < 0.9 ? cross(up, [1, 0, 0]) : cross(up, [0, 0, 1]));
  front = cross(side, up);
}
function measureExtent() {
  const all = vertices || points || frusta, step = Math.max(1, Math.floor(all.length / 20000));
  const axes = [[], [], []];
  for (let i = 0; i < all.length; i += step) all.at(i).forEach((v, k) => axes[k].push(v));
  axes.forEach((a) => a.sort((x, y) => x - y));
  const part = (a, f) => a[Math.floor(f * (a.length - 1))];
  home = axes.map((a) => (part(a, 0.02) + part(a, 0.98)) / 2);
  radius = Math.hypot(...axes.map((a) => part(a, 0.98) - part(a, 0.02))) / 2 || 1;
}
function fit() { target = home; yaw = 0.6; pitch = 0.35; distance = radius * 2.6; }
function backward() {
  const flat = add(front.map((v) => v * Math.cos(yaw)), side, Math.sin(yaw));
  return add(flat.map((v) => v * Math.cos(pitch)), up, Math.sin(pitch));
}
function frame() {
  const back = backward(), eye = add(target, back, distance), x = unit(cross(up, back)), y = cross(back, x);
  const view = new Float32Array([x[0], y[0], back[0], 0, x[1], y[1], back[1], 0, x[2], y[2], back[2], 0, -dot(x, eye), -dot(y, eye), -dot(back, eye), 1]);
  const near = Math.max(distance, radius) / 200, far = distance * 20 + radius * 20, f = 2;
  const aspect = canvas.clientWidth / canvas.clientHeight || 1;
  const lens = new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0]);
  return { eye, x, y, back, aspect, f, matrix: product(lens, view) };
}
function screen(p, m = frame().matrix) {
  const w = m[3] * p[0] + m[7] * p[1] + m[11] * p[2] + m[15];
  const x = m[0] * p[0] + m[4] * p[1] + m[8] * p[2] + m[12], y = m[1] * p[0] + m[5] * p[1] + m[9] * p[2] + m[13];
  return [(x / w + 1) * canvas.clientWidth / 2, (1 - y / w) * canvas.clientHeight / 2, w];
}

// --- what a click meets -------------------------------------------------------------------------
function ray(e) {
  const { eye, x, y, back, aspect, f } = frame(), box = canvas.getBoundingClientRect();
  const u = ((e.clientX - box.left) / box.width * 2 - 1) * aspect / f, v = (1 - (e.clientY - box.top) / box.height * 2) / f;
  return { eye, way: unit(add(add(back.map((c) => -c), x, u), y, v)) };
}
const kept = (p) => !clip.on || p.every((v, i) => v >= clip.low[i] && v <= clip.high[i]);
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
function hitMesh({ eye, way }) {
  let best = Infinity;
  for (let i = 0; i < faces.length; i += 3) {
    const t = meet(eye, way, vertices.at(faces[i]), vertices.at(faces[i + 1]), vertices.at(faces[i + 2]));
    if (t < best && kept(add(eye, way, t))) best = t;
  }
  return best < Infinity ? add(eye, way, best) : null;
}
// The frontmost point within some pixels.
function hitPoints(e, reach) {
  const m = frame().matrix, box = canvas.getBoundingClientRect();
  let best = null, least = Infinity;
  for (let i = 0; i < points.length; i++) {
    const p = points.at(i), s = screen(p, m);
    if (s[2] > 0 && s[2] < least && Math.hypot(s[0] + box.left - e.clientX, s[1] + box.top - e.clientY) < reach && kept(p)) { least = s[2]; best = p; }
  }
  return best;
}
// A camera is the pyramid of its first four edges.
function hitCamera({ eye, way }) {
  let best = Infinity, which = -1;
  for (let c = 0; c < frusta.length / 16; c++) {
    const apex = frusta.at(16 * c), corner = [0, 1, 2, 3].map((k) => frusta.at(16 * c + 2 * k + 1));
    const sides = [0, 1, 2, 3].map((k) => [apex, corner[k], corner[(k + 1) % 4]]);
    for (const s of [...sides, [corner[0], corner[1], corner[2]], [corner[0], corner[2], corner[3]]]) {
      const t = meet(eye, way, ...s);
      if (t < best) { best = t; which = c; }
    }
  }
  return which;
}

// --- measuring ----------------------------------------------------------------------------------
let picked = [], scale = data.scale;
const unitName = () => (scale ? "m" : data.unit);
const length = () => (picked.length === 2 ? Math.hypot(...sub(...picked)) : null);
function tellLength() {
  const words = ["Click the first point.", "Click the second point."][picked.length];
  const number = length() === null ? "" : (length() * (scale || 1)).toPrecision(4) + (unitName() ? " " + unitName() : "");
  $("name").textContent = words || "Distance " + number + (unitName() ? "" : " (scale unknown)");
  $("label").textContent = number;
  $("truth").hidden = picked.length < 2;
  ruler.set(picked.length === 2 ? picked : []);
}
function placeLabel(matrix) {
  const shown = picked.length === 2;
  $("label").hidden = !shown;
  if (!shown) return;
  const s = screen(add(picked[0], sub(picked[1], picked[0]), 0.5), matrix);
  $("label").style.left = s[0] + "px"; $("label").style.top = s[1] + "px";
}
function click(e) {
  const at = ray(e);
  if ($("measure").checked) {
    const point = (mesh && mesh.on && hitMesh(at)) || (cloud && cloud.on && hitPoints(e, 6));
    if (point) { picked = picked.length === 2 ? [point] : [...picked, point]; tellLength(); }
    return;
  }
  const i = cameras && cameras.on ? hitCamera(at) : -1;
  $("name").textContent = i < 0 ? "" : data.names[i];
  mark.set(i < 0 ? [] : Array.from({ length: 16 }, (_, k) => frusta.at(16 * i + k)));
  const photo = i < 0 ? null : data.photos[data.names[i]];
  $("photo").hidden = !photo;
  if (photo) $("photo").src = "data:image/jpeg;base64," + photo;
}

// --- hand ---------------------------------------------------------------------------------------
let held = null, moved = 0;
canvas.onpointerdown = (e) => { held = e; moved = 0; canvas.setPointerCapture(e.pointerId); canvas.focus(); };
canvas.onpointermove = (e) => {
  if (!held) return;
  const dx = e.clientX - held.clientX, dy = e.clientY - held.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  if (held.buttons === 2 || e.buttons === 2 || e.shiftKey) {
    const { x, y } = frame(), step = distance / canvas.clientHeight;
    target = add(add(target, x, -dx * step), y, dy * step);
  } else {
    const eye = add(target, backward(), distance), turn = $("fly").checked ? 0.003 : -0.008;
    yaw += dx * turn;
    pitch = Math.max(-1.55, Math.min(1.55, pitch - dy * turn));
    if ($("fly").checked) target = add(eye, backward(), -distance); // the eye stays, the head turns
  }
  held = e; moving();
};
canvas.onpointerup = (e) => { held = null; if (moved < 4 && e.button === 0) click(e); };
canvas.onpointercancel = () => { held = null; };
canvas.oncontextmenu = (e) => e.preventDefault();
canvas.addEventListener("wheel", (e) => { e.preventDefault(); distance *= Math.exp(e.deltaY * 0.001); moving(); }, { passive: false });
// Keys by place, so that Shift does not turn one into another on its way up.
const KEYS = { KeyW: "w", KeyA: "a", KeyS: "s", KeyD: "d", KeyQ: "q", KeyE: "e" };
const pressed = new Set();
let walking = 0;
function walk(now) {
  const { x, back } = frame(), step = radius * 0.6 * Math.min(0.1, (now - (walk.last || now)) / 1000);
  walk.last = now;
  const ways = { w: back.map((v) => -v), s: back, a: x.map((v) => -v), d: x, e: up, q: up.map((v) => -v) };
  for (const key of pressed) target = add(target, ways[key], step);
  moving();
  walking = pressed.size ? requestAnimationFrame(walk) : 0;
}
addEventListener("keydown", (e) => {
  const typing = e.target.tagName === "SELECT" || e.target.tagName === "INPUT" && e.target.type === "number";
  if (typing || e.ctrlKey || e.metaKey || !(e.code in KEYS)) return;
  pressed.add(KEYS[e.code]);
  if (!walking) { walk.last = 0; walking = requestAnimationFrame(walk); }
});
addEventListener("keyup", (e) => pressed.delete(KEYS[e.code]));
addEventListener("blur", () => pressed.clear());

// --- panel --------------------------------------------------------------------------------------
const styles = mesh ? [...(picture || vertexColors ? ["textured"] : []), "shaded", "wireframe"] : [];
styles.forEach((name) => $("style").append(new Option(name)));
$("styles").hidden = !mesh;
$("style").onchange = $("size").oninput = $("back").oninput = draw;
$("up").onchange = () => { setUp($("up").value); fit(); draw(); };
$("fit").onclick = () => { fit(); draw(); };
$("measure").onchange = () => { picked = []; tellLength(); if (!$("measure").checked) $("name").textContent = ""; draw(); };
$("scale").onclick = () => { const truth = Number($("true").value); if (truth > 0 && length() > 0) { scale = truth / length(); tellLength(); } };
$("shot").onclick = () => { const a = document.createElement("a"); a.download = "view.png"; a.href = canvas.toDataURL("image/png"); a.click(); };
function cutBox() {
  clip.on = $("clip").checked; $("box").hidden = !clip.on;
  [0, 1, 2].forEach((k) => {
    const [a, b] = ["low", "high"].map((end) => Number($(end + k).value)), size = data.high[k] - data.low[k];
    clip.low[k] = data.low[k] + Math.min(a, b) * size; clip.high[k] = data.low[k] + Math.max(a, b) * size;
  });
  draw();
}
["x", "y", "z"].forEach((name, k) => {
  const label = document.createElement("label");
  label.append(name + " ");
  for (const end of ["low", "high"]) {
    const slider = Object.assign(document.createElement("input"), { type: "range", id: end + k, min: 0, max: 1, step: 0.005, oninput: cutBox });
    slider.value = end === "low" ? 0 : 1;
    label.append(slider);
  }
  $("box").append(label);
});
$("clip").onchange = cutBox;
window.onresize = draw;
$("told").textContent = data.notes.join(", ");
setUp("scene"); measureExtent(); fit(); draw();
