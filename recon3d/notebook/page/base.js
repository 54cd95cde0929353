"use strict";
// A small WebGL viewer that needs nothing from outside this page: what it holds, and vectors.
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);

// Arrays stand in elements of their own, in base64, so that no JSON parser has to read them.
function bytes(id) {
  const element = $(id);
  if (!element) return null;
  const text = element.textContent;
  element.remove();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < out.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}
const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array };
function array(id) {
  const raw = data.arrays[id] && bytes(id);
  return raw && new TYPES[data.arrays[id].type](raw.buffer);
}
// Positions: low + step * values.
function positions(id) {
  const values = array(id);
  if (!values) return null;
  const { low, step } = data.arrays[id];
  return {
    values, low, step, length: values.length / 3,
    at: (i) => [low[0] + step * values[3 * i], low[1] + step * values[3 * i + 1], low[2] + step * values[3 * i + 2]],
  };
}
const vertices = positions("vertices"), faces = array("faces"), vertexColors = array("vertex_colors");
const uv = array("uv"), points = positions("points"), pointColors = array("point_colors");
const frusta = positions("frusta");

const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
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
