// --- what is drawn ------------------------------------------------------------------------------
const canvas = document.querySelector("canvas");
// No antialiasing: it costs software renderers four times as much.
const gl = canvas.getContext("webgl2", { preserveDrawingBuffer: true, antialias: false });
if (!gl) { $("told").textContent = "This browser has no WebGL 2."; throw new Error("no WebGL 2"); }

const VERTEX = `#version 300 es
in vec3 position; in vec3 color; in vec2 uv;
uniform mat4 matrix; uniform float size, step; uniform vec3 low;
out vec3 vColor; out vec2 vUv; out vec3 vPosition;
void main() {
  vPosition = low + step * position; gl_Position = matrix * vec4(vPosition, 1.0);
  gl_PointSize = size; vColor = color; vUv = uv;
}`;
const FRAGMENT = `#version 300 es
precision highp float; in vec3 vColor; in vec2 vUv; in vec3 vPosition; out vec4 color;
uniform int mode; uniform sampler2D map; uniform vec3 eye, boxLow, boxHigh; uniform bool cut;
void main() {
  if (cut && (any(lessThan(vPosition, boxLow)) || any(greaterThan(vPosition, boxHigh)))) discard;
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
const at = {};
for (const n of ["matrix", "size", "step", "low", "mode", "map", "eye", "boxLow", "boxHigh", "cut"]) at[n] = gl.getUniformLocation(program, n);

const GL_TYPES = new Map([[Uint8Array, gl.UNSIGNED_BYTE], [Uint16Array, gl.UNSIGNED_SHORT], [Uint32Array, gl.UNSIGNED_INT], [Float32Array, gl.FLOAT]]);
function attribute(place, values, width, normalized = false) {
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, width, GL_TYPES.get(values.constructor), normalized, 0, 0);
}
function indexBuffer(values) {
  const buffer = gl.createBuffer();
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, values, gl.STATIC_DRAW);
  return { buffer, count: values.length, type: GL_TYPES.get(values.constructor) };
}
const layers = [];
function layer(name, primitive, place, { color, texture, indices, plain = [0.75, 0.73, 0.7], on = true }) {
  const vao = gl.createVertexArray();
  gl.bindVertexArray(vao);
  attribute(0, place.values, 3);
  if (color) attribute(1, color, 3, true);
  if (texture) attribute(2, texture, 2);
  const made = { name, primitive, place, vao, colored: !!color, plain, on, solid: indices && indexBuffer(indices) };
  layers.push(made);
  const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: on, id: "layer-" + name });
  box.onchange = () => { made.on = box.checked; draw(); };
  const label = document.createElement("label");
  label.append(box, " " + name); $("layers").append(label);
  return made;
}
const mesh = vertices && layer("mesh", gl.TRIANGLES, vertices, { color: vertexColors, texture: uv, indices: faces });
const cloud = points && layer("points", gl.POINTS, points, { color: pointColors, on: !vertices });
const cameras = frusta && layer("cameras", gl.LINES, frusta, { plain: [1, 0.6, 0.1] });

// A line of one's own: the measured distance, the chosen camera.
function overlay(plain) {
  const vao = gl.createVertexArray(), buffer = gl.createBuffer();
  gl.bindVertexArray(vao);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.enableVertexAttribArray(0); gl.vertexAttribPointer(0, 3, gl.FLOAT, false, 0, 0);
  const made = { count: 0, vao, plain, set(ends) {
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array(ends.flat()), gl.DYNAMIC_DRAW);
    made.count = ends.length; draw();
  } };
  return made;
}
const ruler = overlay([1, 0.3, 0.43]), mark = overlay([0.22, 0.91, 1]);

// The photo's colours come when they are decoded, off this thread; the surface is grey till then.
let textured = !!vertexColors, waiting = false;
const picture = bytes("texture");
if (picture) {
  waiting = true;
  createImageBitmap(new Blob([picture], { type: "image/jpeg" }), { imageOrientation: "flipY" }).then((image) => {
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
    image.close();
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    textured = true; waiting = false; draw();
  });
}
function edges() {
  if (!mesh.wire) {
    const lines = new Uint32Array(faces.length * 2);
    for (let f = 0, k = 0; f < faces.length; f += 3) for (let e = 0; e < 3; e++) { lines[k++] = faces[f + e]; lines[k++] = faces[f + (e + 1) % 3]; }
    gl.bindVertexArray(mesh.vao);
    mesh.wire = indexBuffer(lines);
  }
  return mesh.wire;
}

// --- painting -----------------------------------------------------------------------------------
// Points are in random order. While a hand moves the camera, as many of the first are drawn as this
// machine draws smoothly; when it rests, the others are added slice by slice on the same picture.
const SLICE = 200000;
let smooth = 150000, sharp = 1, queued = 0, added = 0, resting = true, rest = 0, last = 0;
const clip = { on: false, low: [0, 0, 0], high: [0, 0, 0] };
function draw() { added = 0; if (!queued) queued = requestAnimationFrame(paint); }
function moving() {
  resting = false; clearTimeout(rest);
  rest = setTimeout(() => { resting = true; last = 0; draw(); }, 180);
  draw();
}
function learn(now) {
  // The time between two pictures in a row tells how fast this machine is.
  const took = last ? now - last : 0;
  last = now;
  if (!took || took > 2000) return;
  if (took > 70) { smooth = Math.max(50000, smooth * 0.7); sharp = Math.max(0.5, sharp * 0.8); }
  else if (took < 25) { smooth = Math.min(2e7, smooth * 1.3); sharp = Math.min(1, sharp * 1.1); }
}
function drawPart(one, start, count) {
  gl.bindVertexArray(one.vao);
  gl.uniform3fv(at.low, one.place.low); gl.uniform1f(at.step, one.place.step);
  if (!one.colored) gl.vertexAttrib3f(1, ...one.plain);
  gl.drawArrays(one.primitive, start, count);
}
function drawMesh() {
  const style = $("style").value, lines = style === "wireframe";
  gl.bindVertexArray(mesh.vao);
  const part = lines ? edges() : mesh.solid;
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, part.buffer);
  gl.uniform3fv(at.low, vertices.low); gl.uniform1f(at.step, vertices.step);
  const photo = textured && style === "textured";
  if (photo && vertexColors) gl.enableVertexAttribArray(1);
  else { gl.disableVertexAttribArray(1); gl.vertexAttrib3f(1, ...(lines ? [0.5, 0.7, 0.9] : mesh.plain)); }
  gl.uniform1i(at.mode, lines ? 0 : photo ? (picture ? 1 : 2) : 2);
  gl.drawElements(lines ? gl.LINES : gl.TRIANGLES, part.count, part.type, 0);
  gl.uniform1i(at.mode, 0);
}
function paint(now) {
  queued = 0;
  const scale = (window.devicePixelRatio || 1) * (resting ? 1 : sharp);
  const width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
  const { eye, matrix } = frame();
  if (!added) {
    if (!resting) learn(now);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    gl.viewport(0, 0, width, height);
    const back = $("back").value;
    gl.clearColor(...[1, 3, 5].map((i) => parseInt(back.slice(i, i + 2), 16) / 255), 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  }
  gl.enable(gl.DEPTH_TEST);
  gl.uniformMatrix4fv(at.matrix, false, matrix);
  gl.uniform3fv(at.eye, eye);
  gl.uniform1i(at.cut, clip.on); gl.uniform3fv(at.boxLow, clip.low); gl.uniform3fv(at.boxHigh, clip.high);
  gl.uniform1f(at.size, $("size").value * scale);
  gl.uniform1i(at.mode, 0);
  if (!added) {
    if (mesh && mesh.on) drawMesh();
    if (cameras && cameras.on) drawPart(cameras, 0, frusta.length);
  }
  const total = cloud && cloud.on ? points.length : 0;
  const end = Math.min(total, resting ? added + SLICE : smooth);
  if (end > added) drawPart(cloud, added, end - added);
  added = Math.max(end, 1);
  gl.disable(gl.DEPTH_TEST); gl.uniform1i(at.cut, 0); gl.uniform3f(at.low, 0, 0, 0); gl.uniform1f(at.step, 1);
  for (const one of [mark, ruler]) if (one.count) {
    gl.bindVertexArray(one.vao); gl.vertexAttrib3f(1, ...one.plain);
    gl.drawArrays(gl.LINES, 0, one.count);
  }
  placeLabel(matrix);
  document.body.dataset.drawn = "yes";
  if (resting && added < total) queued = requestAnimationFrame(paint);
  else if (resting && !waiting) document.body.dataset.complete = "yes";
}
