// --- where a model comes from: arrays inside the page, or a GLB and a scene behind addresses -----------

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };

// Positions: low + step * values.
function grid(values, low = [0, 0, 0], step = 1) {
  return {
    values, low, step, length: values.length / 3,
    at: (i) => [low[0] + step * values[3 * i], low[1] + step * values[3 * i + 1], low[2] + step * values[3 * i + 2]],
  };
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < out.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

// Arrays stand in elements of their own, in base64, so that no JSON parser has to read them.
function embedded(arrays, prefix = "recon3d-") {
  // A draft comes first; the rest may not be there yet.
  const { draft, ...whole } = arrays;
  if (draft) return { ...embedded(draft, prefix + "draft-"), rest: () => embedded(whole, prefix) };
  const bytes = (name) => {
    const element = document.getElementById(prefix + name);
    if (!element) return null;
    const text = element.textContent;
    element.remove();
    return fromBase64(text);
  };
  const array = (name) => {
    const about = arrays[name], raw = about && bytes(name);
    return raw && new TYPES[about.type](raw.buffer);
  };
  const positions = (name) => {
    const values = array(name);
    return values && grid(values, arrays[name].low, arrays[name].step);
  };
  const picture = bytes("texture");
  return {
    vertices: positions("vertices"), faces: array("faces"), vertexColors: array("vertex_colors"), uv: array("uv"),
    picture: picture && new Blob([picture], { type: "image/jpeg" }),
    points: positions("points"), pointColors: array("point_colors"),
  };
}

async function fetched(address, headers, onProgress) {
  const answer = await fetch(address, { headers });
  if (!answer.ok) throw new Error(fill(STRINGS.notLoaded, { address, status: answer.status }));
  const total = Number(answer.headers.get("content-length")) || 0;
  if (!onProgress || !answer.body) return answer.arrayBuffer();
  const parts = [], reader = answer.body.getReader();
  let done = 0;
  for (;;) {
    const { value, done: end } = await reader.read();
    if (end) break;
    parts.push(value); done += value.length; onProgress(done, total);
  }
  return new Blob(parts).arrayBuffer();
}

async function sceneOf(scene, headers) {
  if (!scene) return {};
  if (typeof scene !== "string") return scene;
  return JSON.parse(new TextDecoder().decode(await fetched(scene, headers)));
}

async function glbOf(model, headers, onProgress) {
  if (model instanceof Blob) return parseGlb(await model.arrayBuffer());
  if (model instanceof ArrayBuffer) return parseGlb(model);
  return parseGlb(await fetched(model, headers, onProgress));
}

// A GLB that recon3d wrote: one mesh of one primitive, with a picture or colours of its vertices.
function parseGlb(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 20 || view.getUint32(0, true) !== 0x46546c67) throw new Error(STRINGS.noGlb);
  const length = view.getUint32(12, true);
  const json = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, length)));
  const start = 28 + length, primitive = json.meshes[0].primitives[0];
  if (json.extensionsRequired && json.extensionsRequired.length) throw new Error(STRINGS.noGlb);
  const piece = (index) => {
    const { byteOffset = 0, byteLength } = json.bufferViews[index];
    return [start + byteOffset, byteLength];
  };
  const KINDS = { 5121: Uint8Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
  const WIDTHS = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 };
  const array = (index) => {
    if (index === undefined) return null;
    const accessor = json.accessors[index], [offset] = piece(accessor.bufferView);
    return new KINDS[accessor.componentType](buffer, offset + (accessor.byteOffset || 0), accessor.count * WIDTHS[accessor.type]);
  };
  const { POSITION, TEXCOORD_0, COLOR_0 } = primitive.attributes;
  let uv = array(TEXCOORD_0), colors = array(COLOR_0), picture = null;
  if (uv) uv = uv.map((value, i) => (i % 2 ? 1 - value : value));
  if (uv && json.images && json.images.length) {
    const [offset, size] = piece(json.images[0].bufferView);
    picture = new Blob([new Uint8Array(buffer, offset, size)], { type: json.images[0].mimeType });
  }
  const { rotation = [0, 0, 0, 1], translation = [0, 0, 0] } = json.nodes.find((node) => node.mesh !== undefined) || {};
  const told = (json.asset.extras && json.asset.extras.recon3d) || {};
  return {
    vertices: grid(array(POSITION)), faces: array(primitive.indices), uv: picture && uv, picture,
    vertexColors: colors && gamma(colors, json.accessors[COLOR_0].type === "VEC4" ? 4 : 3),
    points: null, pointColors: null,
    // The node turns the model upright; cameras and openings speak of the model before that.
    up: turnedBack([0, 1, 0], rotation), origin: turnedBack(translation, rotation), opening: told.opening,
  };
}

function turnedBack(v, [x, y, z, w]) {
  const q = [-x, -y, -z], t = times(cross(q, v), 2);
  return add(add(v, t, w), cross(q, t));
}

// A scene's places, relative to another origin.
function shifted(scene, by) {
  if (!by || norm(by) === 0) return scene;
  const move = (p) => add(p, by);
  const { opening, cameras = [] } = scene;
  return {
    ...scene, origin: null,
    opening: opening && { ...opening, target: move(opening.target), frame: opening.frame.map(move) },
    cameras: cameras.map((c) => ({ ...c, center: move(c.center), corners: c.corners.map(move) })),
  };
}

// Linear vertex colours, as glTF has them, to sRGB bytes.
function gamma(colors, width) {
  const top = colors instanceof Float32Array ? 1 : colors instanceof Uint16Array ? 65535 : 255;
  const count = colors.length / width, out = new Uint8Array(3 * count);
  for (let i = 0; i < count; i++) for (let k = 0; k < 3; k++) {
    const value = Math.min(1, colors[width * i + k] / top);
    out[3 * i + k] = Math.round(255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055));
  }
  return out;
}

// What there is, where its middle is, and how large it is.
function completed(model, scene) {
  const made = { ...model, up: [0, 1, 0], unit: "", scale: null, notes: [], cameras: [], origin: [0, 0, 0] };
  for (const source of [model, scene]) for (const [key, value] of Object.entries(source)) {
    if (key !== "arrays" && value !== null && value !== undefined) made[key] = value;
  }
  const all = made.vertices || made.points || grid(new Float32Array(made.cameras.flatMap((c) => [c.center, ...c.corners]).flat()));
  const step = Math.max(1, Math.floor(all.length / 20000)), axes = [[], [], []];
  for (let i = 0; i < all.length; i += step) all.at(i).forEach((v, k) => axes[k].push(v));
  axes.forEach((a) => a.sort((x, y) => x - y));
  const part = (a, f) => a[Math.floor(f * (a.length - 1))];
  const low = axes.map((a) => part(a, 0.02)), high = axes.map((a) => part(a, 0.98));
  made.middle = mix(low, high, 0.5);
  made.radius = norm(sub(high, low)) / 2 || 1;
  made.low = made.low || axes.map((a) => a[0]);
  made.high = made.high || axes.map((a) => a[a.length - 1]);
  made.up = unit(made.up);
  if (!made.opening) {
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [0, 1, 2].map((k) => (i >> k & 1 ? high : low)[k]));
    made.opening = { target: made.middle, back: null, frame: corners, limit: null };
  }
  return made;
}
