"use strict";
// A small WebGL viewer: points, a mesh, cameras; orbit with the mouse, pan with the right button or
// shift, zoom with the wheel. It needs nothing from outside this page.
const data = JSON.parse(document.getElementById("data").textContent);
const canvas = document.querySelector("canvas");
const gl = canvas.getContext("webgl2", { preserveDrawingBuffer: true, antialias: true });
const $ = (id) => document.getElementById(id);
if (!gl) { $("told").textContent = "This browser has no WebGL 2."; throw new Error("no WebGL 2"); }

function bytes(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }
const floats = (text) => text && new Float32Array(bytes(text).buffer);
const indices = (text) => text && new Uint32Array(bytes(text).buffer);
const octets = (text) => text && bytes(text);

// --- vectors ------------------------------------------------------------------------------------
const sub = (a, b) => a.map((v, i) => v - b[i]);
const add = (a, b, s = 1) => a.map((v, i) => v + s * b[i]);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => { const n = Math.hypot(...a) || 1; return a.map((v) => v / n); };
function product(a, b) {
  const out = new Float32Array(16);
  for (let c = 0; c < 4; c++) for (let r = 0; r < 4; r++) {
    let sum = 0;
    for (let k = 0; k < 4; k++) sum += a[k * 4 + r] * b[c * 4 + k];
    out[c * 4 + r] = sum;
  }
  return out;
}

// --- the one program ----------------------------------------------------------------------------
const VERTEX = `#version 300 es
in vec3 position; in vec3 color; in vec2 uv; uniform mat4 matrix; uniform float size;
out vec3 vColor; out vec2 vUv; out vec3 vPosition;
void main() { gl_Position = matrix * vec4(position, 1.0); gl_PointSize = size; vColor = color; vUv = uv; vPosition = position; }`;
const FRAGMENT = `#version 300 es
precision highp float; in vec3 vColor; in vec2 vUv; in vec3 vPosition; out vec4 color;
uniform int mode; uniform sampler2D map; uniform vec3 eye;
void main() {
  if (mode == 0) color = vec4(vColor, 1.0);
  else if (mode == 1) color = vec4(texture(map, vUv).rgb, 1.0);
  else {
    vec3 normal = normalize(cross(dFdx(vPosition), dFdy(vPosition)));
    float light = 0.25 + 0.75 * abs(dot(normal, normalize(eye - vPosition)));
    color = vec4(vColor * light, 1.0);
  }
}`;
function shader(type, source) {
  const made = gl.createShader(type);
  gl.shaderSource(made, source); gl.compileShader(made);
  if (!gl.getShaderParameter(made, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(made));
  return made;
}
const program = gl.createProgram();
gl.attachShader(program, shader(gl.VERTEX_SHADER, VERTEX));
gl.attachShader(program, shader(gl.FRAGMENT_SHADER, FRAGMENT));
["position", "color", "uv"].forEach((name, i) => gl.bindAttribLocation(program, i, name));
gl.linkProgram(program); gl.useProgram(program);
const at = Object.fromEntries(["matrix", "size", "mode", "map", "eye"].map((n) => [n, gl.getUniformLocation(program, n)]));

function attribute(place, values, width, type, normalized) {
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, width, type, normalized, 0, 0);
}
const layers = [];
function layer(name, primitive, position, { color, uv, faces, mode = 0, plain = [0.75, 0.75, 0.75], on = true }) {
  const vao = gl.createVertexArray();
  gl.bindVertexArray(vao);
  attribute(0, position, 3, gl.FLOAT, false);
  if (color) attribute(1, color, 3, gl.UNSIGNED_BYTE, true);
  if (uv) attribute(2, uv, 2, gl.FLOAT, false);
  if (faces) {
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
  }
  const made = { name, primitive, position, vao, count: faces ? faces.length : position.length / 3, faces, mode, plain, colored: !!color, on };
  layers.push(made);
  const box = document.createElement("input");
  box.type = "checkbox"; box.checked = on; box.id = "layer-" + name;
  box.onchange = () => { made.on = box.checked; draw(); };
  const label = document.createElement("label");
  label.append(box, " " + name); $("layers").append(label);
  return made;
}
const vertices = floats(data.vertices), points = floats(data.points), frusta = floats(data.frusta);
if (vertices) layer("mesh", gl.TRIANGLES, vertices, { color: octets(data.vertex_colors), uv: floats(data.uv), faces: indices(data.faces), mode: data.texture ? 1 : 2 });
if (points) layer("points", gl.POINTS, points, { color: octets(data.point_colors), on: !vertices });
if (frusta) layer("cameras", gl.LINES, frusta, { plain: [1, 0.6, 0.1] });
let ready = !data.texture;
if (data.texture) {
  const image = new Image();
  image.onload = () => {
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    ready = true; draw();
  };
  image.src = data.texture;
}

// --- camera -------------------------------------------------------------------------------------
const up = unit(data.up);
const side = unit(Math.abs(up[0]) < 0.9 ? cross(up, [1, 0, 0]) : cross(up, [0, 0, 1]));
const front = cross(side, up);
let yaw, pitch, distance, target, radius;
function fit() {
  const all = vertices || points || frusta, step = Math.max(1, Math.floor(all.length / 3 / 20000)) * 3;
  const axes = [[], [], []];
  for (let i = 0; i < all.length; i += step) for (let k = 0; k < 3; k++) axes[k].push(all[i + k]);
  axes.forEach((a) => a.sort((x, y) => x - y));
  const part = (a, f) => a[Math.floor(f * (a.length - 1))];
  target = axes.map((a) => (part(a, 0.02) + part(a, 0.98)) / 2);
  radius = Math.hypot(...axes.map((a) => part(a, 0.98) - part(a, 0.02))) / 2 || 1;
  yaw = 0.6; pitch = 0.35; distance = radius * 2.6;
}
function frame() {
  const flat = add(front.map((v) => v * Math.cos(yaw)), side, Math.sin(yaw));
  const back = add(flat.map((v) => v * Math.cos(pitch)), up, Math.sin(pitch));
  const eye = add(target, back, distance), x = unit(cross(up, back)), y = cross(back, x);
  const view = new Float32Array([x[0], y[0], back[0], 0, x[1], y[1], back[1], 0, x[2], y[2], back[2], 0, -dot(x, eye), -dot(y, eye), -dot(back, eye), 1]);
  const near = distance / 100, far = distance * 20 + radius * 20, f = 2, aspect = canvas.width / canvas.height;
  const lens = new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0]);
  return { eye, x, y, matrix: product(lens, view) };
}
let queued = false;
function draw() { if (!queued) { queued = true; requestAnimationFrame(paint); } }
function paint() {
  queued = false;
  const scale = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * scale; canvas.height = canvas.clientHeight * scale;
  gl.viewport(0, 0, canvas.width, canvas.height);
  const back = $("back").value;
  gl.clearColor(...[1, 3, 5].map((i) => parseInt(back.slice(i, i + 2), 16) / 255), 1);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  gl.enable(gl.DEPTH_TEST);
  const { eye, matrix } = frame();
  gl.uniformMatrix4fv(at.matrix, false, matrix);
  gl.uniform3fv(at.eye, eye);
  gl.uniform1f(at.size, $("size").value * scale);
  for (const one of layers) {
    if (!one.on || (one.mode === 1 && !ready)) continue;
    gl.bindVertexArray(one.vao);
    if (!one.colored) gl.vertexAttrib3f(1, ...one.plain);
    gl.uniform1i(at.mode, one.mode);
    if (one.faces) gl.drawElements(one.primitive, one.count, gl.UNSIGNED_INT, 0);
    else gl.drawArrays(one.primitive, 0, one.count);
  }
  if (ready) document.body.dataset.drawn = "yes";
}

// --- hand ---------------------------------------------------------------------------------------
let held = null, moved = 0, measuring = false, picked = [];
canvas.onpointerdown = (e) => { held = e; moved = 0; canvas.setPointerCapture(e.pointerId); };
canvas.onpointermove = (e) => {
  if (!held) return;
  const dx = e.clientX - held.clientX, dy = e.clientY - held.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  if (held.buttons === 2 || e.buttons === 2 || e.shiftKey) {
    const { x, y } = frame(), step = distance / canvas.clientHeight;
    target = add(add(target, x, -dx * step), y, dy * step);
  } else {
    yaw -= dx * 0.008;
    pitch = Math.max(-1.55, Math.min(1.55, pitch + dy * 0.008));
  }
  held = e; draw();
};
canvas.onpointerup = (e) => { held = null; if (moved < 4) click(e); };
canvas.oncontextmenu = (e) => e.preventDefault();
canvas.addEventListener("wheel", (e) => { e.preventDefault(); distance *= Math.exp(e.deltaY * 0.001); draw(); }, { passive: false });

// The vertex of `array` nearest to the click within some pixels; the frontmost of those.
function nearest(array, stride, e, reach) {
  const { matrix: m } = frame(), w = canvas.clientWidth, h = canvas.clientHeight;
  const box = canvas.getBoundingClientRect();
  let best = -1, least = Infinity;
  for (let i = 0; i < array.length; i += stride) {
    const x = array[i], y = array[i + 1], z = array[i + 2];
    const depth = m[3] * x + m[7] * y + m[11] * z + m[15];
    if (depth <= 0) continue;
    const px = ((m[0] * x + m[4] * y + m[8] * z + m[12]) / depth + 1) * w / 2 + box.left;
    const py = (1 - (m[1] * x + m[5] * y + m[9] * z + m[13]) / depth) * h / 2 + box.top;
    if (Math.hypot(px - e.clientX, py - e.clientY) < reach && depth < least) { least = depth; best = i; }
  }
  return best;
}
function click(e) {
  const surface = layers.find((l) => l.on && l.name !== "cameras");
  if (measuring && surface) {
    const i = nearest(surface.position, 3, e, 5);
    if (i < 0) return;
    picked.push(Array.from(surface.position.slice(i, i + 3)));
    if (picked.length < 2) { $("name").textContent = "Click the second point."; return; }
    $("name").textContent = "Distance " + Math.hypot(...sub(...picked)).toPrecision(4) + (data.unit ? " " + data.unit : " (scale unknown)");
    picked = []; return;
  }
  const i = frusta && $("layer-cameras").checked ? nearest(frusta, 3, e, 8) : -1;
  $("name").textContent = i < 0 ? "" : data.names[Math.floor(i / 48)];
}
$("size").oninput = $("back").oninput = draw;
$("fit").onclick = () => { fit(); draw(); };
$("measure").onclick = () => { measuring = !measuring; picked = []; $("name").textContent = measuring ? "Click the first point." : ""; };
$("shot").onclick = () => { const a = document.createElement("a"); a.download = "view.png"; a.href = canvas.toDataURL("image/png"); a.click(); };
window.onresize = draw;
$("told").textContent = data.notes.join(", ");
fit(); draw();
