// --- what a click meets -------------------------------------------------------------------------------
class Picker {
  constructor(viewer) { this.viewer = viewer; }

  kept(p) {
    const { on, low, high } = this.viewer.clip;
    return !on || p.every((v, i) => v >= low[i] && v <= high[i]);
  }

  // The surface or a point below a pixel of the canvas.
  place(px, py) {
    const { camera, canvas, sides } = this.viewer, part = px / canvas.clientWidth;
    const [{ mesh, cloud, model }] = sides.find(([, , right]) => part <= right) || sides[0];
    return (mesh && mesh.on && this.onMesh(camera.ray(px, py), model)) || (cloud && cloud.on && this.onPoints(px, py, 8, model)) || null;
  }

  // Half a million triangles in hundredths of a second: numbers only, in the grid's own steps.
  onMesh({ eye, way }, { vertices, faces }) {
    const { values: v, low, step } = vertices;
    const [ex, ey, ez] = sub(eye, low).map((c) => c / step), [wx, wy, wz] = way.map((c) => c / step);
    let best = Infinity;
    for (let i = 0; i < faces.length; i += 3) {
      const a = 3 * faces[i], b = 3 * faces[i + 1], c = 3 * faces[i + 2], ax = v[a], ay = v[a + 1], az = v[a + 2];
      const bx = v[b] - ax, by = v[b + 1] - ay, bz = v[b + 2] - az, cx = v[c] - ax, cy = v[c + 1] - ay, cz = v[c + 2] - az;
      const hx = wy * cz - wz * cy, hy = wz * cx - wx * cz, hz = wx * cy - wy * cx, det = bx * hx + by * hy + bz * hz;
      if (det === 0) continue;
      const sx = ex - ax, sy = ey - ay, sz = ez - az, u = (sx * hx + sy * hy + sz * hz) / det;
      if (u < 0 || u > 1) continue;
      const qx = sy * bz - sz * by, qy = sz * bx - sx * bz, qz = sx * by - sy * bx, w = (wx * qx + wy * qy + wz * qz) / det;
      if (w < 0 || u + w > 1) continue;
      const t = (cx * qx + cy * qy + cz * qz) / det;
      if (t > 0 && t < best && this.kept(add(eye, way, t))) best = t;
    }
    return best < Infinity ? add(eye, way, best) : null;
  }

  // The frontmost point within some pixels.
  onPoints(px, py, reach, model) {
    const { camera } = this.viewer, m = camera.frame().matrix;
    let best = null, least = Infinity;
    for (let i = 0; i < model.points.length; i++) {
      const p = model.points.at(i), s = camera.screen(p, m);
      if (s[2] > 0 && s[2] < least && Math.hypot(s[0] - px, s[1] - py) < reach && this.kept(p)) { least = s[2]; best = p; }
    }
    return best;
  }

  // A camera is the pyramid of its edges, as it is drawn.
  onCamera(px, py) {
    const { surfaces, camera } = this.viewer;
    if (!surfaces.cameras || !surfaces.cameras.on) return -1;
    const { eye, way } = camera.ray(px, py), { place } = surfaces.cameras;
    let best = Infinity, which = -1;
    for (let c = 0; c < place.length / 16; c++) {
      const apex = place.at(16 * c), corner = [0, 1, 2, 3].map((k) => place.at(16 * c + 2 * k + 1));
      const sides = [0, 1, 2, 3].map((k) => [apex, corner[k], corner[(k + 1) % 4]]);
      for (const s of [...sides, [corner[0], corner[1], corner[2]], [corner[0], corner[2], corner[3]]]) {
        const t = meet(eye, way, ...s);
        if (t < best) { best = t; which = c; }
      }
    }
    return which;
  }
}
