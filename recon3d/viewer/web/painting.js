// --- painting: the scene, then its soft shadows and background, smoother while nothing moves -----------
const WHOLE = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1), 0, 1); }`;
// Ambient obscurance from depth alone, after McGuire et al., "The Alchemy screen-space ambient
// obscurance algorithm", 2011; rendering/occlusion.py computes the same for stills.
const COMPOSE = (shadows) => `#version 300 es
${shadows ? "#define SHADOWS" : ""}
precision highp float; out vec4 color;
uniform sampler2D scene, depths; uniform vec2 range, lens, size; uniform vec3 above, below;
uniform float reach, turn;
#ifdef SHADOWS
float far(ivec2 p) {
  float d = 2.0 * texelFetch(depths, p, 0).r - 1.0;
  return 2.0 * range.x * range.y / (range.y + range.x - d * (range.y - range.x));
}
vec3 place(ivec2 p) {
  float z = far(p);
  return vec3((2.0 * (vec2(p) + 0.5) / size - 1.0) / lens * z, z);
}
#endif
void main() {
  ivec2 here = ivec2(gl_FragCoord.xy), last = ivec2(size) - 1;
  vec4 seen = texelFetch(scene, here, 0);
  float light = 1.0;
#ifdef SHADOWS
  if (texelFetch(depths, here, 0).r < 1.0) {
    vec3 p = place(here);
    vec3 l = p - place(max(here - ivec2(1, 0), ivec2(0))), r = place(min(here + ivec2(1, 0), last)) - p;
    vec3 d = p - place(max(here - ivec2(0, 1), ivec2(0))), u = place(min(here + ivec2(0, 1), last)) - p;
    vec3 x = abs(l.z) < abs(r.z) ? l : r, y = abs(d.z) < abs(u.z) ? d : u;
    vec3 normal = normalize(cross(y, x));
    if (normal.z > 0.0) normal = -normal;
    float pixels = clamp(reach * lens.y * size.y / (2.0 * p.z), 2.0, 0.3 * size.y), hidden = 0.0;
    float start = turn + 6.2831853 * fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715))));
    for (int i = 0; i < 12; i++) {
      float part = (float(i) + 0.5) / 12.0, angle = start + 31.4159265 * part;
      ivec2 there = clamp(here + ivec2(round(part * pixels * vec2(cos(angle), sin(angle)))), ivec2(0), last);
      if (texelFetch(depths, there, 0).r >= 1.0) continue;
      vec3 v = place(there) - p;
      float square = dot(v, v);
      if (square < reach * reach) hidden += max(dot(v, normal) - 0.03 * reach, 0.0) / (square + 0.02 * reach * reach);
    }
    light = 1.0 - clamp(1.1 * reach * hidden / 12.0, 0.0, 0.85);
  }
#endif
  vec2 q = gl_FragCoord.xy / size;
  vec3 back = mix(below, above, q.y) * (1.0 - 0.12 * smoothstep(0.35, 0.85, distance(q, vec2(0.5))));
  color = vec4(seen.rgb * light + (1.0 - seen.a) * back, 1.0);
}`;
const BACKGROUNDS = {
  light: [[0.965, 0.969, 0.976], [0.808, 0.827, 0.859]],
  dark: [[0.165, 0.18, 0.205], [0.07, 0.078, 0.09]],
};
// Where in its pixel each of the pictures of one view is taken, so that their mean has smooth edges.
const JITTER = [[0, 0], [-0.31, 0.19], [0.19, 0.31], [-0.19, -0.31], [0.31, -0.19], [-0.44, -0.06], [0.06, 0.44], [0.44, 0.06]];
// Points are in random order. While a hand moves the camera, as many of the first are drawn as this
// machine draws smoothly; when it rests, the others are added slice by slice to the same picture.
const SLICE = 200000;
// A surface whose picture takes more milliseconds is drawn as its draft while something moves. A resting
// picture has shadows, and the first one takes in the texture.
const SLOW = 100, SLOW_AT_REST = 250;

class Painter {
  constructor(viewer) {
    const gl = viewer.gl;
    Object.assign(this, { viewer, gl, smooth: 150000, sharp: 1, took: 30, pace: 30, passes: 1, most: 4, quick: 0, slow: false, queued: 0, added: 0, round: 0, resting: true, last: 0, shown: 0 });
    this.composers = [];
    this.nothing = gl.createVertexArray();
    this.frame = gl.createFramebuffer();
  }

  // Draw anew.
  draw() {
    this.added = 0; this.round = 0; this.whole = false;
    if (!this.queued) this.queued = requestAnimationFrame((now) => this.paint(now));
  }

  // Draw while something moves.
  moving() {
    this.resting = false;
    this.waitForRest();
    this.draw();
  }

  // A slow picture would hold up the hand that goes on.
  waitForRest() {
    clearTimeout(this.rest);
    this.rest = setTimeout(() => {
      if (this.slow && this.viewer.hand.pointers.size) { this.waitForRest(); return; }
      this.resting = true; this.last = 0; this.draw();
    }, this.slow ? 350 : 180);
  }

  // The time between two pictures in a row tells how fast this machine is.
  learn(now) {
    const took = this.last ? now - this.last : 0;
    this.last = now;
    if (!took || took > 2000) return;
    this.took = 0.7 * this.took + 0.3 * took;
    // Smooth edges while moving, too, as long as this machine keeps up.
    this.quick = took < 19 ? this.quick + 1 : 0;
    if (took > 24 && this.passes > 1) this.most = this.passes = this.passes / 2;
    else if (this.quick > 20 && this.passes < this.most) { this.passes *= 2; this.quick = 0; }
    if (took > 70) { this.smooth = Math.max(50000, this.smooth * 0.7); this.sharp = Math.max(0.5, this.sharp * 0.8); }
    else if (took < 25) { this.smooth = Math.min(2e7, this.smooth * 1.3); this.sharp = Math.min(1, this.sharp * 1.1); }
  }

  // Find out how long a picture takes, to its last pixel: intervals would also tell how slowly a hand moves.
  time(limit) {
    if (this.timing) return;
    const { gl } = this, began = performance.now(), fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.timing = true; gl.flush();
    const look = () => {
      const took = performance.now() - began;
      if (gl.isContextLost()) return;
      if (took < 5000 && gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED) { setTimeout(look, 10); return; }
      gl.deleteSync(fence);
      this.timing = false; this.slow = took > limit;
    };
    setTimeout(look, 10);
  }

  sized(width, height) {
    const gl = this.gl;
    if (this.width === width && this.height === height) return;
    this.width = width; this.height = height;
    gl.deleteTexture(this.colors); gl.deleteTexture(this.depths);
    const made = (unit, inside, format, type) => {
      const texture = gl.createTexture();
      gl.activeTexture(gl.TEXTURE0 + unit); gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, inside, width, height, 0, format, type, null);
      for (const kind of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, kind, gl.NEAREST);
      return texture;
    };
    this.colors = made(1, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE);
    this.depths = made(2, gl.DEPTH_COMPONENT24, gl.DEPTH_COMPONENT, gl.UNSIGNED_INT);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.colors, 0);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.TEXTURE_2D, this.depths, 0);
  }

  paint(now) {
    this.queued = 0;
    const { gl, viewer } = this, { canvas, models, camera } = viewer;
    if (viewer.closed || gl.isContextLost()) return;
    if (camera.advance(now)) { this.added = 0; this.round = 0; this.again = true; } else this.again = false;
    const resting = this.resting && !this.again;
    if (!resting && !this.added) this.learn(now);
    const scale = (window.devicePixelRatio || 1) * (resting ? 1 : this.sharp);
    const width = Math.max(1, Math.round(canvas.clientWidth * scale)), height = Math.max(1, Math.round(canvas.clientHeight * scale));
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; this.added = this.round = 0; }
    this.sized(width, height);
    this.drafting = !resting && this.slow;
    const view = camera.frame();
    const total = Math.max(...models.map(({ cloud }) => (cloud && cloud.on ? cloud.place.length : 0)));
    this.scene(view, scale, resting, total);
    const whole = this.added >= total;
    this.compose(view, resting);
    for (; !resting && !total && this.round < this.passes - 1; ) { this.round++; this.scene(view, scale, resting, total); this.compose(view, resting); }
    if (!resting) this.round = 0;
    if (!this.drafting && models.some(({ coarse }) => coarse)) this.time(resting ? SLOW_AT_REST : SLOW);
    viewer.overlay.place(view.matrix);
    this.shown++;
    viewer.root.dataset.drawn = "yes";
    if (this.again) { this.queued = requestAnimationFrame((n) => this.paint(n)); return; }
    if (!resting) return;
    // A slow machine rests earlier.
    if (this.round) this.pace = 0.5 * this.pace + 0.5 * (now - this.before);
    this.before = now;
    const waiting = models.some((shown) => shown.waiting);
    // What is replaced in a moment need not be smooth.
    const rounds = waiting || total > SLICE ? 1 : this.pace < 40 ? JITTER.length : this.pace < 100 ? 4 : 2;
    if (whole) this.round++;
    if (!whole || this.round < rounds) this.queued = requestAnimationFrame((n) => this.paint(n));
    else if (!waiting) viewer.complete();
  }

  // Mesh, cameras and points, into a picture of their own with its depth.
  scene(view, scale, resting, total) {
    const { gl, viewer } = this, { clip, sides } = viewer;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, this.width, this.height);
    gl.enable(gl.DEPTH_TEST); gl.disable(gl.BLEND); gl.depthMask(true);
    const fresh = !this.added || this.round > 0;
    if (fresh) { gl.clearColor(0, 0, 0, 0); gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT); this.added = 0; }
    const matrix = Float32Array.from(view.matrix), [x, y] = JITTER[this.round % JITTER.length];
    for (let c = 0; c < 4; c++) { matrix[4 * c] += 2 * x / this.width * matrix[4 * c + 3]; matrix[4 * c + 1] += 2 * y / this.height * matrix[4 * c + 3]; }
    const end = this.round ? total : Math.min(total, resting ? this.added + SLICE : this.smooth);
    if (sides.length > 1) gl.enable(gl.SCISSOR_TEST);
    for (const [shown, left, right] of sides) {
      const from = Math.round(left * this.width);
      gl.scissor(from, 0, Math.round(right * this.width) - from, this.height);
      shown.begin(matrix, view.eye, clip, viewer.pointSize * scale);
      this.model(shown, fresh, end);
    }
    gl.disable(gl.SCISSOR_TEST);
    this.added = Math.max(end, 1);
  }

  // One model, with its points up to that one.
  model(shown, fresh, end) {
    const { gl, viewer } = this, { mesh, cloud, cameras } = shown;
    if (fresh && mesh && mesh.on) (this.drafting && shown.coarse ? shown.coarse : shown).drawMesh(viewer.style);
    const last = cloud && cloud.on ? Math.min(end, cloud.place.length) : 0;
    if (last > this.added) shown.drawPart(cloud, this.added, last - this.added);
    if (fresh && cameras && cameras.on) {
      gl.enable(gl.BLEND); gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA); gl.depthMask(false);
      shown.drawPart(cameras, 0, cameras.place.length, mesh ? 0.45 : 0.8);
      gl.depthMask(true); gl.disable(gl.BLEND);
    }
  }

  // With shadows or without. Compiling shadows takes longer than the first picture should.
  composer(shadows) {
    const names = ["scene", "depths", "range", "lens", "size", "above", "below", "reach", "turn"];
    return (this.composers[shadows ? 1 : 0] ??= programOf(this.gl, WHOLE, COMPOSE(shadows), names));
  }

  // Shadows and background; the mean with the pictures before.
  compose(view, resting) {
    const { gl, viewer } = this;
    // Not in the very first picture, and while something moves only on a fast machine.
    const deep = viewer.models.some(({ mesh }) => mesh && mesh.on) && viewer.style !== "wireframe";
    const at = this.composer(deep && this.shown && (resting || this.took < 24));
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, this.width, this.height);
    gl.disable(gl.DEPTH_TEST);
    if (this.round) { gl.enable(gl.BLEND); gl.blendColor(0, 0, 0, 1 / (this.round + 1)); gl.blendFunc(gl.CONSTANT_ALPHA, gl.ONE_MINUS_CONSTANT_ALPHA); } else gl.disable(gl.BLEND);
    gl.useProgram(at.program);
    gl.activeTexture(gl.TEXTURE1); gl.bindTexture(gl.TEXTURE_2D, this.colors); gl.uniform1i(at.scene, 1);
    gl.activeTexture(gl.TEXTURE2); gl.bindTexture(gl.TEXTURE_2D, this.depths); gl.uniform1i(at.depths, 2);
    gl.uniform2f(at.range, view.near, view.far); gl.uniform2f(at.lens, view.lens / view.aspect, view.lens); gl.uniform2f(at.size, this.width, this.height);
    const [above, below] = viewer.background || BACKGROUNDS[viewer.theme];
    gl.uniform3fv(at.above, above); gl.uniform3fv(at.below, below);
    gl.uniform1f(at.reach, 0.22 / view.lens * viewer.camera.home); gl.uniform1f(at.turn, this.round * 0.785);
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
