// --- hands: pointers told apart by id, the wheel, the keyboard ------------------------------------------
const WALK = { KeyW: "forward", KeyS: "back", KeyA: "left", KeyD: "right", KeyQ: "down", KeyE: "up" };
const TURN = { ArrowLeft: [0.09, 0], ArrowRight: [-0.09, 0], ArrowUp: [0, 0.09], ArrowDown: [0, -0.09] };

class Hand {
  constructor(viewer) {
    const { canvas } = viewer;
    Object.assign(this, { viewer, pointers: new Map(), pressed: new Set(), travelled: 0, most: 0, lastTap: null });
    const on = (target, name, listener, options) => target.addEventListener(name, listener, { signal: viewer.ending.signal, ...options });
    on(canvas, "pointerdown", (e) => this.down(e));
    on(canvas, "pointermove", (e) => this.move(e));
    on(canvas, "pointerup", (e) => this.up(e));
    on(canvas, "pointercancel", (e) => { this.pointers.delete(e.pointerId); this.most = 9; });
    on(canvas, "contextmenu", (e) => e.preventDefault());
    on(canvas, "wheel", (e) => {
      e.preventDefault();
      const pixels = e.deltaY * (e.deltaMode === 1 ? 30 : e.deltaMode === 2 ? 300 : 1);
      viewer.camera.zoom(Math.exp(Math.max(-300, Math.min(300, pixels)) * 0.001), viewer.flying);
    }, { passive: false });
    on(viewer.keys, "keydown", (e) => this.key(e));
    on(viewer.keys, "keyup", (e) => this.pressed.delete(e.code));
    on(window, "blur", () => this.pressed.clear());
  }

  spot(e) { const box = this.viewer.canvas.getBoundingClientRect(); return { x: e.clientX - box.left, y: e.clientY - box.top }; }

  down(e) {
    if (!this.pointers.size) { this.travelled = 0; this.most = 0; }
    this.pointers.set(e.pointerId, this.spot(e));
    this.most = Math.max(this.most, this.pointers.size);
    this.viewer.canvas.setPointerCapture(e.pointerId);
    this.viewer.canvas.focus({ preventScroll: true });
  }

  move(e) {
    const before = this.pointers.get(e.pointerId);
    if (!before) return;
    const { viewer, pointers } = this, { camera, canvas } = viewer, now = this.spot(e);
    const dx = now.x - before.x, dy = now.y - before.y, height = canvas.clientHeight || 1;
    this.travelled += Math.abs(dx) + Math.abs(dy);
    if (pointers.size === 1) {
      pointers.set(e.pointerId, now);
      if (this.travelled < 4) return;
      if (e.buttons & 6 || e.shiftKey) camera.pan(dx / height, dy / height);
      else camera.turn(...(viewer.flying ? [dx * 0.003, dy * -0.003] : [dx * -0.008, dy * 0.008]), viewer.flying);
      return;
    }
    // Two fingers: their distance zooms, their middle pans. A third one has no say.
    const [first, second] = pointers.keys();
    if (e.pointerId !== first && e.pointerId !== second) { pointers.set(e.pointerId, now); return; }
    const gap = () => Math.hypot(pointers.get(first).x - pointers.get(second).x, pointers.get(first).y - pointers.get(second).y);
    const apart = gap();
    pointers.set(e.pointerId, now);
    camera.pan(dx / 2 / height, dy / 2 / height);
    const nowApart = gap();
    if (apart > 8 && nowApart > 8) camera.zoom(apart / nowApart, viewer.flying);
  }

  up(e) {
    if (!this.pointers.delete(e.pointerId)) return;
    const reach = e.pointerType === "touch" ? 14 : 5;
    if (this.pointers.size || this.most > 1 || this.travelled >= reach || e.button !== 0) return;
    const { x, y } = this.spot(e), last = this.lastTap;
    if (last && e.timeStamp - last.time < 350 && Math.hypot(x - last.x, y - last.y) < 24) {
      this.lastTap = null;
      this.viewer.doubleClick(x, y);
    } else {
      this.lastTap = { x, y, time: e.timeStamp };
      this.viewer.click(x, y);
    }
  }

  key(e) {
    const { viewer } = this, { camera } = viewer, tag = e.target.tagName;
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "Escape") { viewer.escape(); return; }
    if (tag === "SELECT" || tag === "INPUT" || tag === "TEXTAREA") return;
    if (e.code in WALK) {
      if (!viewer.flying) return;
      this.pressed.add(e.code);
      if (!this.walking) { this.clock = 0; this.walking = requestAnimationFrame((now) => this.walk(now)); }
    } else if (e.key in TURN && tag !== "SUMMARY") {
      const [yaw, pitch] = TURN[e.key];
      if (e.shiftKey) camera.pan(-yaw, -pitch); else camera.turn(yaw, pitch, viewer.flying);
    } else if (e.key === "+" || e.key === "=") camera.zoom(0.85, viewer.flying);
    else if (e.key === "-" || e.key === "_") camera.zoom(1 / 0.85, viewer.flying);
    else if (e.key === "f" || e.key === "F" || e.key === "Home") viewer.fit();
    else return;
    e.preventDefault();
  }

  walk(now) {
    const { camera, model } = this.viewer, { x, back } = camera.frame();
    const step = model.radius * 0.6 * Math.min(0.1, (now - (this.clock || now)) / 1000);
    this.clock = now;
    const ways = { forward: times(back, -1), back, left: times(x, -1), right: x, up: camera.up, down: times(camera.up, -1) };
    for (const code of this.pressed) camera.walk(ways[WALK[code]], step);
    this.walking = this.pressed.size ? requestAnimationFrame((n) => this.walk(n)) : 0;
  }
}
