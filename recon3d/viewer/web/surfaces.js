// --- what is drawn: programs, layers, textures ------------------------------------------------------
const VERTEX = `#version 300 es
in vec3 position; in vec3 color; in vec2 uv;
uniform mat4 matrix; uniform float size, step; uniform vec3 low;
out vec3 vColor; out vec2 vUv; out vec3 vPosition;
void main() {
  vPosition = low + step * position; gl_Position = matrix * vec4(vPosition, 1.0);
  gl_PointSize = size; vColor = color; vUv = uv;
}`;
// Colours are multiplied by their opacity: the background comes later.
const FRAGMENT = `#version 300 es
precision highp float; in vec3 vColor; in vec2 vUv; in vec3 vPosition; out vec4 color;
uniform int mode; uniform sampler2D map; uniform vec3 eye, boxLow, boxHigh; uniform bool cut; uniform float opacity;
void main() {
  if (cut && (any(lessThan(vPosition, boxLow)) || any(greaterThan(vPosition, boxHigh)))) discard;
  vec3 shade = vColor;
  if (mode == 1) shade = texture(map, vUv).rgb;
  if (mode == 2) {
    vec3 normal = normalize(cross(dFdx(vPosition), dFdy(vPosition)));
    shade = vColor * (0.25 + 0.75 * abs(dot(normal, normalize(eye - vPosition))));
  }
  color = vec4(shade * opacity, opacity);
}`;
const GL_TYPES = new Map([[Uint8Array, 0x1401], [Uint16Array, 0x1403], [Uint32Array, 0x1405], [Float32Array, 0x1406]]);

function programOf(gl, vertex, fragment, names, attributes = []) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source); gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  attributes.forEach((name, i) => gl.bindAttribLocation(program, i, name));
  gl.linkProgram(program);
  const at = { program };
  for (const name of names) at[name] = gl.getUniformLocation(program, name);
  return at;
}

// One for all surfaces of a picture.
const programs = new WeakMap();
function programFor(gl) {
  if (!programs.has(gl)) programs.set(gl, programOf(gl, VERTEX, FRAGMENT, ["matrix", "size", "step", "low", "mode", "map", "eye", "boxLow", "boxHigh", "cut", "opacity"], ["position", "color", "uv"]));
  return programs.get(gl);
}

class Surfaces {
  constructor(gl, model, changed) {
    this.gl = gl; this.model = model;
    this.at = programFor(gl);
    this.layers = [];
    const { vertices, faces, vertexColors, uv, points, pointColors, cameras } = model;
    if (vertices && faces) {
      const indices = () => this.indexBuffer(faces);
      this.mesh = this.layer("mesh", gl.TRIANGLES, vertices, { color: vertexColors, texture: uv, indices, plain: [0.75, 0.73, 0.7] });
    }
    if (points) this.cloud = this.layer("points", gl.POINTS, points, { color: pointColors, on: !this.mesh, plain: [0.6, 0.6, 0.6] });
    if (cameras.length) {
      // Faint, no longer than a tenth of the model, and off once there is a surface.
      const lines = grid(new Float32Array(cameras.flatMap((c) => frustumLines(c, 0.1 * model.radius)).flat()));
      this.cameras = this.layer("cameras", gl.LINES, lines, { plain: [0.95, 0.55, 0.1], on: !this.mesh });
    }
    this.textured = !!vertexColors;
    // A draft waits for the whole.
    this.waiting = !!model.rest;
    // The photo's colours come when they are decoded, off this thread; the surface is grey till then.
    this.ready = Promise.resolve();
    if (model.picture) {
      this.waiting = true;
      this.ready = createImageBitmap(model.picture, { imageOrientation: "flipY" }).then((image) => {
        this.texture(image); image.close();
        this.textured = true; this.waiting = false; changed();
      }, () => { this.waiting = false; changed(); });
    }
  }

  texture(image) {
    const gl = this.gl, most = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    let shown = image;
    if (Math.max(image.width, image.height) > most) {
      const part = most / Math.max(image.width, image.height);
      shown = new OffscreenCanvas(Math.floor(image.width * part), Math.floor(image.height * part));
      shown.getContext("2d").drawImage(image, 0, 0, shown.width, shown.height);
    }
    gl.activeTexture(gl.TEXTURE0);
    this.map = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.map);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, shown);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  }

  attribute(place, values, width, normalized = false) {
    const gl = this.gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, width, GL_TYPES.get(values.constructor), normalized, 0, 0);
  }

  indexBuffer(values) {
    const gl = this.gl, buffer = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, values, gl.STATIC_DRAW);
    return { buffer, count: values.length, type: GL_TYPES.get(values.constructor) };
  }

  layer(name, primitive, place, { color, texture, indices, plain, on = true }) {
    const vao = this.gl.createVertexArray();
    this.gl.bindVertexArray(vao);
    this.attribute(0, place.values, 3);
    if (color) this.attribute(1, color, 3, true);
    // Integers are shares of their greatest.
    if (texture) this.attribute(2, texture, 2, !(texture instanceof Float32Array));
    const made = { name, primitive, place, vao, colored: !!color, plain, on, solid: indices && indices() };
    this.layers.push(made);
    return made;
  }

  // The edges of all triangles, made when they are first asked for.
  edges() {
    if (!this.mesh.wire) {
      const { faces } = this.model, lines = new Uint32Array(faces.length * 2);
      for (let f = 0, k = 0; f < faces.length; f += 3) for (let e = 0; e < 3; e++) { lines[k++] = faces[f + e]; lines[k++] = faces[f + (e + 1) % 3]; }
      this.gl.bindVertexArray(this.mesh.vao);
      this.mesh.wire = this.indexBuffer(lines);
    }
    return this.mesh.wire;
  }

  begin(matrix, eye, clip, size) {
    const { gl, at } = this;
    gl.useProgram(at.program);
    gl.activeTexture(gl.TEXTURE0); gl.bindTexture(gl.TEXTURE_2D, this.map || null); gl.uniform1i(at.map, 0);
    gl.uniformMatrix4fv(at.matrix, false, matrix); gl.uniform3fv(at.eye, eye);
    gl.uniform1i(at.cut, clip.on ? 1 : 0); gl.uniform3fv(at.boxLow, clip.low); gl.uniform3fv(at.boxHigh, clip.high);
    gl.uniform1f(at.size, size); gl.uniform1i(at.mode, 0); gl.uniform1f(at.opacity, 1);
  }

  drawPart(one, start, count, opacity = 1) {
    const { gl, at } = this;
    gl.bindVertexArray(one.vao);
    gl.uniform3fv(at.low, one.place.low); gl.uniform1f(at.step, one.place.step); gl.uniform1f(at.opacity, opacity);
    if (!one.colored) gl.vertexAttrib3f(1, ...one.plain);
    gl.drawArrays(one.primitive, start, count);
  }

  drawMesh(style) {
    const { gl, at, mesh, model } = this, lines = style === "wireframe";
    gl.bindVertexArray(mesh.vao);
    const part = lines ? this.edges() : mesh.solid;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, part.buffer);
    gl.uniform3fv(at.low, mesh.place.low); gl.uniform1f(at.step, mesh.place.step);
    const photo = this.textured && style === "textured";
    if (photo && mesh.colored) gl.enableVertexAttribArray(1);
    else { gl.disableVertexAttribArray(1); gl.vertexAttrib3f(1, ...(lines ? [0.35, 0.55, 0.8] : mesh.plain)); }
    gl.uniform1i(at.mode, lines ? 0 : !photo ? 2 : model.picture ? 1 : 0);
    gl.drawElements(lines ? gl.LINES : gl.TRIANGLES, part.count, part.type, 0);
    gl.uniform1i(at.mode, 0);
  }
}

// Four edges and four sides of a camera's pyramid, as 16 ends of lines.
function frustumLines(camera, depth) {
  const middle = camera.corners.reduce((sum, c) => add(sum, c, 0.25), [0, 0, 0]);
  const part = Math.min(1, depth / (norm(sub(middle, camera.center)) || 1));
  const corners = camera.corners.map((c) => mix(camera.center, c, part));
  return [0, 1, 2, 3].flatMap((k) => [camera.center, corners[k]]).concat([0, 1, 2, 3].flatMap((k) => [corners[k], corners[(k + 1) % 4]]));
}
