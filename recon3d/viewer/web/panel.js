// --- the panel: what can be switched, measured, cut and saved ----------------------------------------------
class Panel {
  constructor(viewer) {
    this.viewer = viewer;
    this.lines = h("div", { class: "r3d-about", "data-part": "about" });
    this.body = h("div", { class: "r3d-body" });
    this.fold = icon("fold", () => this.toggle(this.body.hidden));
    this.fold.setAttribute("aria-expanded", "true");
    this.title = h("h1", {}, viewer.model.title || "");
    viewer.stage.append(
      h("section", { class: "r3d-panel", "aria-label": STRINGS.fold }, h("header", {}, this.fold, this.title), this.body),
      h("div", { class: "r3d-buttons" }, icon("fit", () => viewer.fit()), icon("shot", () => viewer.save()),
        viewer.root.requestFullscreen ? icon("full", () => viewer.fullScreen()) : null, icon("theme", () => viewer.setTheme(viewer.theme === "dark" ? "light" : "dark"))),
      this.lines,
    );
    this.layers(); this.measuring(); if (viewer.surfaces.mesh || viewer.surfaces.cloud) this.clipping();
    if (viewer.model.cameras.length) this.photos();
    this.more(); this.about();
    // Of two models, one would be behind it.
    this.toggle(!viewer.embed && !viewer.split && viewer.stage.clientWidth > 620);
  }

  toggle(on) { this.body.hidden = !on; this.fold.setAttribute("aria-expanded", String(on)); }

  group(name, ...children) { const made = h("details", {}, h("summary", {}, name), ...children); this.body.append(made); return made; }

  check(part, text, on, act) {
    const box = h("input", { type: "checkbox", checked: on, "data-part": part });
    box.onchange = () => act(box.checked);
    return h("label", {}, box, text);
  }

  choice(part, text, values, act, labels = STRINGS) {
    const select = h("select", { "data-part": part }, ...values.map((value) => h("option", { value }, labels[value] || value)));
    select.onchange = () => act(select.value);
    return h("label", {}, text, select);
  }

  layers() {
    const { viewer } = this, { surfaces, model } = viewer;
    // Of two models, the first has the say where both have a layer.
    const layers = new Map([...viewer.models].reverse().flatMap((shown) => shown.layers.map((one) => [one.name, one.on])));
    const boxes = [...layers].map(([name, on]) => this.check("layer-" + name, STRINGS[name], on, (now) => viewer.show(name, now)));
    const styles = viewer.models.some((shown) => shown.mesh) ? [...(model.picture || model.vertexColors ? ["textured"] : []), "shaded", "wireframe"] : [];
    const made = this.group(STRINGS.layers, h("div", { class: "r3d-row" }, ...boxes),
      styles.length ? this.choice("style", STRINGS.style, styles, (value) => { viewer.style = value; viewer.painter.draw(); }) : null);
    if (surfaces.cloud) {
      const size = h("input", { type: "range", min: 1, max: 8, step: 0.5, value: viewer.pointSize, "data-part": "size" });
      size.oninput = () => { viewer.pointSize = Number(size.value); viewer.painter.draw(); };
      made.append(h("label", {}, STRINGS.pointSize, size));
    }
    made.open = true;
  }

  measuring() {
    const { viewer } = this, { measures } = viewer, button = (part, text, act) => h("button", { type: "button", "data-part": part, onclick: act }, text);
    this.kind = this.choice("measure", STRINGS.measure, ["", "distance", "angle", "area", "height"], (kind) => measures.choose(kind), { ...STRINGS, "": STRINGS.none });
    this.hint = h("p", { class: "r3d-hint", role: "status", "data-part": "hint" });
    this.list = h("ol", { "data-part": "measures" });
    this.length = h("input", { type: "number", min: 0, step: "any", placeholder: STRINGS.trueLength, "aria-label": STRINGS.trueLength, "data-part": "true" });
    this.finish = button("finish", STRINGS.finish, () => measures.finish());
    this.setScale = h("div", { class: "r3d-row" }, this.length, button("scale", STRINGS.setScale, () => measures.setScale(Number(this.length.value))));
    this.actions = h("div", { class: "r3d-row" }, button("clear", STRINGS.clear, () => measures.clear()),
      button("csv", STRINGS.csv, () => download(new Blob([measures.csv()], { type: "text/csv" }), "measures.csv")));
    this.group(STRINGS.measure, this.kind, this.hint, this.finish, this.list, this.setScale, this.actions);
    this.measures();
  }

  measures() {
    const { measures } = this.viewer, { kind, open, done } = measures;
    const hints = STRINGS.hints[kind] || [];
    this.hint.textContent = kind ? hints[Math.min((open || { points: [] }).points.length, hints.length - 1)] : "";
    this.finish.hidden = !(kind === "area" && open && open.points.length > 2);
    this.list.replaceChildren(...done.map((m, i) => h("li", {}, h("span", {}, `${STRINGS[m.kind]} ${measures.words(m)}`),
      h("button", { type: "button", title: STRINGS.remove, "aria-label": STRINGS.remove, onclick: () => measures.remove(i) }, "×"))));
    this.setScale.hidden = !done.some((m) => m.kind === "distance");
    this.actions.hidden = !done.length;
    this.viewer.canvas.classList.toggle("r3d-aim", !!kind);
  }

  clipping() {
    const { viewer } = this, { clip, model } = viewer, inputs = [];
    const cut = () => {
      [0, 1, 2].forEach((k) => {
        const [a, b] = [inputs[2 * k], inputs[2 * k + 1]].map((input) => Number(input.value)), size = model.high[k] - model.low[k];
        clip.low[k] = model.low[k] + Math.min(a, b) * size; clip.high[k] = model.low[k] + Math.max(a, b) * size;
      });
      viewer.painter.draw();
    };
    const rows = ["x", "y", "z"].map((name, k) => {
      const ends = ["low", "high"].map((end, j) => h("input", { type: "range", min: 0, max: 1, step: 0.005, value: j, oninput: cut, "data-part": end + k, "aria-label": `${name} ${end}` }));
      inputs.push(...ends);
      return h("label", { class: "r3d-ends" }, name, ...ends);
    });
    const told = h("p", { class: "r3d-hint" }), option = h("textarea", { readOnly: true, hidden: true, rows: 3, "data-part": "crop", "aria-label": STRINGS.keepCrop });
    const keep = h("button", { type: "button", "data-part": "keep-crop", onclick: () => {
      const region = viewer.region();
      // Shells take brackets for patterns of file names, and not all of them know single quotes.
      option.value = `--set "mesh_generation.region=${JSON.stringify(region)}"`; option.hidden = false; told.textContent = STRINGS.cropTold;
      if (navigator.clipboard && document.hasFocus()) navigator.clipboard.writeText(option.value).catch(() => {});
      viewer.root.dispatchEvent(new CustomEvent("recon3d-crop", { bubbles: true, detail: { region } }));
    } }, STRINGS.keepCrop);
    const box = h("div", { hidden: true }, ...rows, keep, told, option);
    this.group(STRINGS.clip, this.check("clip", STRINGS.clip, false, (on) => { clip.on = on; box.hidden = !on; cut(); }), box);
  }

  photos() {
    const { viewer } = this;
    this.group(STRINGS.photos, this.check("photos", STRINGS.strip, false, (on) => viewer.photos.showStrip(on)));
  }

  more() {
    const { viewer } = this, { camera, model } = viewer;
    const axes = ["scene", "+x", "-x", "+y", "-y", "+z", "-z"];
    const turn = (axis) => {
      const k = "xyz".indexOf(axis[1]), sign = axis[0] === "-" ? -1 : 1;
      camera.setUp(axis === "scene" ? model.up : [0, 1, 2].map((i) => (i === k ? sign : 0)));
      camera.back = axis === "scene" && model.opening.back ? model.opening.back : camera.backOf(0.6, 0.25);
      viewer.fit(); viewer.overlay.now();
    };
    this.group(STRINGS.view, this.choice("up", STRINGS.upward, axes, turn), this.check("fly", STRINGS.fly, false, (on) => { viewer.flying = on; viewer.canvas.focus(); }));
  }

  // Size of the surface, where there is one; triangles, who made it and what one may do with it, and what was thinned.
  about() {
    const { model, measures } = this.viewer, { low, high, faces, points } = model;
    const sides = model.size || [0, 1, 2].map((k) => high[k] - low[k]);
    const s = measures.scale || 1, size = sides.map((side) => (side * s).toPrecision(3)).join(" × ");
    const parts = [`${size} ${measures.unit || `(${STRINGS.scaleUnknown})`}`];
    if (faces) parts.push(`${(faces.length / 3).toLocaleString("en")} ${STRINGS.triangles}`);
    else if (points) parts.push(`${points.length.toLocaleString("en")} ${STRINGS.pointCount}`);
    for (const text of [model.credit, model.licence, ...model.notes]) if (text) parts.push(text);
    this.lines.textContent = parts.join(" · ");
  }
}
