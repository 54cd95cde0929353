// --- the camera: where it opens, orbits, flies, and stands where a photo was taken ---------------------
const FILL_HEIGHT = 0.82, FILL_WIDTH = 0.94, LENS = 1 / Math.tan(Math.PI / 9);
const SWAY = 0.07, SWAY_SECONDS = 14, FLIGHT = 600;

class OrbitCamera {
  constructor(viewer) {
    this.viewer = viewer;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    Object.assign(this, { lens: LENS, sway: 0, idle: 0, pose: null, flight: null, photo: -1 });
    const { opening, up } = viewer.model;
    this.setUp(up);
    this.back = opening.back ? unit(opening.back) : this.backOf(0.6, 0.25);
    this.fit(false);
  }

  get aspect() { return this.viewer.canvas.clientWidth / this.viewer.canvas.clientHeight || 1; }

  // Which way is up; angles count from there.
  setUp(up) {
    this.up = unit(up);
    this.side = unit(Math.abs(this.up[0]) < 0.9 ? cross(this.up, [1, 0, 0]) : cross(this.up, [0, 0, 1]));
    this.front = cross(this.side, this.up);
  }

  backOf(yaw, pitch) {
    const flat = add(times(this.front, Math.cos(yaw)), this.side, Math.sin(yaw));
    return add(times(flat, Math.cos(pitch)), this.up, Math.sin(pitch));
  }

  turnTo(back) {
    this.pitch = Math.max(-1.5, Math.min(1.5, Math.asin(Math.max(-1, Math.min(1, dot(back, this.up))))));
    this.yaw = Math.atan2(dot(back, this.side), dot(back, this.front));
  }

  // From where the outline of the subject fills the picture: recon3d.rendering.framing in Python.
  distanceFor(back) {
    const { frame, target, limit } = this.viewer.model.opening, x = unit(cross(this.up, back)), y = cross(back, x);
    let distance = 1e-9;
    const width = this.aspect >= 1 ? FILL_WIDTH : FILL_HEIGHT;
    for (const p of frame) {
      const q = sub(p, target), z = dot(q, back);
      distance = Math.max(distance, z + Math.abs(dot(q, y)) * LENS / FILL_HEIGHT, z + Math.abs(dot(q, x)) * LENS / (width * this.aspect));
    }
    return limit ? Math.min(distance, limit) : distance;
  }

  fit(soft = true) {
    this.leave(() => {
      this.target = this.viewer.model.opening.target.slice();
      this.turnTo(this.back); this.sway = 0; this.lens = LENS;
      this.distance = this.home = this.distanceFor(this.backOf(this.yaw, this.pitch));
    }, soft && this.target);
  }

  // Change where the camera is, in a short flight from where it was.
  leave(change, soft = true) {
    const from = soft && !this.calm ? this.now() : null;
    this.pose = null; this.photo = -1;
    change();
    this.flight = from && { from, began: 0 };
    if (this.viewer.painter) this.viewer.painter.moving();
  }

  // Stand where a photo was taken, with its lens.
  goTo(index) {
    const { center, corners } = this.viewer.model.cameras[index];
    this.leave(() => {
      const right = sub(corners[1], corners[0]), down = sub(corners[3], corners[0]);
      const x = unit(right), y = unit(times(down, -1)), back = unit(cross(x, y));
      const depth = -dot(sub(corners[0], center), back);
      this.pose = { eye: center, x, y, back };
      this.tangents = [norm(right) / 2 / depth, norm(down) / 2 / depth];
      this.photo = index;
      // Orbiting goes on from here, about what is in the middle.
      const ahead = Math.max(0.1 * this.viewer.model.radius, -dot(sub(this.viewer.model.opening.target, center), back));
      this.distance = ahead; this.target = add(center, back, -ahead); this.sway = 0;
      this.turnTo(back);
    });
  }

  settle() { if (this.pose) { this.pose = null; this.lens = LENS; this.viewer.photos.hide(); this.photo = -1; } this.flight = null; this.wake(); }

  // A hand is at work: no idle turn any more.
  wake() { this.yaw += this.sway; this.sway = 0; this.idle = 0; this.touched = true; }

  rest() { if (!this.calm && !this.touched && !this.idle && !this.pose && this.viewer.painter.took < 60 && !this.viewer.painter.slow) { this.idle = -1; this.viewer.painter.draw(); } }

  turn(dx, dy, flying) {
    this.settle();
    const eye = add(this.target, this.backward(), this.distance);
    this.yaw += dx; this.pitch = Math.max(-1.55, Math.min(1.55, this.pitch + dy));
    if (flying) this.target = add(eye, this.backward(), -this.distance); // the eye stays, the head turns
    this.viewer.painter.moving();
  }

  // By parts of the picture's height.
  pan(dx, dy) {
    this.settle();
    const { x, y } = this.frame(), step = 2 * this.distance / this.lens;
    this.target = add(add(this.target, x, -dx * step), y, dy * step);
    this.viewer.painter.moving();
  }

  zoom(factor, flying) {
    this.settle();
    if (flying) this.target = add(this.target, this.backward(), (factor - 1) * this.viewer.model.radius);
    else this.distance = Math.max(1e-3 * this.viewer.model.radius, Math.min(100 * this.viewer.model.radius, this.distance * factor));
    this.viewer.painter.moving();
  }

  walk(way, step) { this.settle(); this.target = add(this.target, way, step); this.viewer.painter.moving(); }

  focus(point) { this.wake(); this.leave(() => { this.target = point.slice(); this.distance *= 0.6; this.lens = LENS; }); }

  backward() { return this.backOf(this.yaw + this.sway, this.pitch); }

  // Move on by time; tells whether there is more to come.
  advance(now) {
    if (this.flight) {
      if (!this.flight.began) this.flight.began = now;
      this.part = Math.min(1, (now - this.flight.began) / FLIGHT);
      if (this.part >= 1) this.flight = null;
      return true;
    }
    if (!this.idle || document.hidden || this.viewer.painter.took > 90 || this.viewer.painter.slow) return false;
    if (this.idle < 0) this.idle = now;
    const seconds = (now - this.idle) / 1000;
    this.sway = SWAY * Math.min(1, seconds / 4) * Math.sin(2 * Math.PI * seconds / SWAY_SECONDS);
    return true;
  }

  // Eye, axes and lens as they are without a flight.
  now() {
    if (this.pose) {
      const [across, along] = this.tangents;
      return { ...this.pose, lens: Math.min(1 / along, this.aspect / across) };
    }
    const back = this.backward(), x = unit(cross(this.up, back));
    return { eye: add(this.target, back, this.distance), x, y: cross(back, x), back, lens: this.lens };
  }

  frame() {
    let { eye, x, y, back, lens } = this.now();
    if (this.flight) {
      const t = this.part || 0, s = t * t * (3 - 2 * t), { from } = this.flight;
      eye = mix(from.eye, eye, s); back = unit(mix(from.back, back, s)); lens = from.lens + s * (lens - from.lens);
      x = unit(cross(mix(from.y, y, s), back)); y = cross(back, x);
    }
    const { aspect } = this, { radius } = this.viewer.model, reach = Math.max(norm(sub(eye, this.viewer.model.middle)), radius);
    const view = new Float32Array([x[0], y[0], back[0], 0, x[1], y[1], back[1], 0, x[2], y[2], back[2], 0, -dot(x, eye), -dot(y, eye), -dot(back, eye), 1]);
    const near = Math.min(this.distance, reach) / 100, far = reach + 20 * radius;
    const matrix = product(new Float32Array([lens / aspect, 0, 0, 0, 0, lens, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0]), view);
    return { eye, x, y, back, aspect, lens, near, far, matrix };
  }

  // Pixels on the page, and the depth, of a place.
  screen(p, m = this.frame().matrix) {
    const { clientWidth, clientHeight } = this.viewer.canvas;
    const w = m[3] * p[0] + m[7] * p[1] + m[11] * p[2] + m[15];
    const x = m[0] * p[0] + m[4] * p[1] + m[8] * p[2] + m[12], y = m[1] * p[0] + m[5] * p[1] + m[9] * p[2] + m[13];
    return [(x / w + 1) * clientWidth / 2, (1 - y / w) * clientHeight / 2, w];
  }

  // The ray through a pixel of the canvas.
  ray(px, py) {
    const { eye, x, y, back, aspect, lens } = this.frame(), { clientWidth, clientHeight } = this.viewer.canvas;
    const u = (px / clientWidth * 2 - 1) * aspect / lens, v = (1 - py / clientHeight * 2) / lens;
    return { eye, way: unit(add(add(times(back, -1), x, u), y, v)) };
  }
}
