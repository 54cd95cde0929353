// --- texts and elements --------------------------------------------------------------------------------
const STRINGS = {
  layers: "Show", mesh: "model", points: "points", cameras: "cameras", style: "Surface", textured: "textured", shaded: "shaded", wireframe: "wireframe",
  pointSize: "Point size", upward: "Up", measure: "Measure", none: "off", distance: "distance", angle: "angle", area: "area", height: "height",
  hints: {
    distance: ["Click the first point.", "Click the second point."], height: ["Click the lower point.", "Click the upper point."],
    angle: ["Click a point on the first side.", "Click the corner.", "Click a point on the second side."],
    area: ["Click the corners.", "Click the corners.", "Click the corners.", "Double-click the last corner, or press Finish."],
  },
  finish: "Finish", clear: "Clear", csv: "Save CSV", remove: "Remove", trueLength: "true length in m", setScale: "Set scale", scaleUnknown: "scale unknown",
  clip: "Clip box", keepCrop: "Keep as crop", cropTold: "Run the reconstruction again from mesh_generation with this option (copied):",
  photos: "Photos", strip: "Show all photos", opacity: "Photo", beside: "Depth beside", close: "Close", frame: "Photo", depthMap: "Depth map: red is near", noDepth: "No depth map",
  split: "Divider between {before}, on the left, and {after}",
  view: "View", fly: "Fly (W A S D Q E)", fit: "Whole model (F)", full: "Full screen", theme: "Light or dark", shot: "Save a picture", fold: "Tools",
  triangles: "triangles", pointCount: "points", picture: "3D model. Arrow keys turn it, plus and minus zoom, F shows all of it.",
  noWebGL: "This browser has no WebGL 2, so this is a still picture of the model. A current version of Chrome, Edge, Firefox or Safari turns it.",
  lost: "The browser took the graphics memory away. Reload the page to turn the model again.",
  notLoaded: "{address} could not be loaded: the server answered {status}.", noGlb: "This file is not a GLB that recon3d wrote.",
};
const fill = (text, values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);

function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key in element && key !== "class") element[key] = value; else element.setAttribute(key === "class" ? "class" : key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Pictures of buttons, as paths in a square of 24.
const ICONS = {
  fold: "M4 6h16M4 12h16M4 18h16", fit: "M4 11l8-7 8 7M6 10v9h12v-9", full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16", shot: "M4 8h4l2-3h4l2 3h4v11H4zM12 10a3.5 3.5 0 1 0 .01 0",
};
function icon(name, act) {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24"); path.setAttribute("d", ICONS[name]); svg.append(path);
  return h("button", { type: "button", title: STRINGS[name], "aria-label": STRINGS[name], "data-part": name, onclick: act }, svg);
}

function download(blob, name) {
  const link = h("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
