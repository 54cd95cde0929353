// Small helpers for elements. Text is set as text, never as HTML.
import { t } from "./strings.js";

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (name === "class") node.className = value;
    else if (value === true) node.setAttribute(name, "");
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const button = (text, onclick, properties = {}) =>
  el("button", { type: "button", text, onclick, ...properties });

let number = 0;

// A labelled input; `node.input` is the control.
export function field(label, properties = {}, hint = "") {
  const id = `field-${(number += 1)}`;
  const input = el("input", { id, "aria-describedby": hint ? `${id}-hint` : null, ...properties });
  const node = el("div", { class: "field" }, el("label", { for: id, text: label }), input);
  if (hint) node.append(el("p", { class: "hint", id: `${id}-hint`, text: hint }));
  return Object.assign(node, { input });
}

export function check(label, properties = {}, hint = "") {
  const id = `field-${(number += 1)}`;
  const input = el("input", { type: "checkbox", id, "aria-describedby": hint ? `${id}-hint` : null, ...properties });
  const node = el("div", { class: "check" }, input, el("label", { for: id, text: label }));
  if (hint) node.append(el("p", { class: "hint", id: `${id}-hint`, text: hint }));
  return Object.assign(node, { input });
}

// A form that shows errors above its button and takes no second click while it works.
export function form(fields, label, submit) {
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const send = el("button", { class: "primary", text: label });
  const node = el("form", { novalidate: false }, fields, error, send);
  node.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    error.hidden = true;
    try {
      await submit();
    } catch (problem) {
      if (problem.name === "AbortError") return; // its user has gone
      error.textContent = told(problem);
      error.hidden = false;
    } finally {
      send.disabled = false;
    }
  });
  return node;
}

// What went wrong, in the words of the API.
export const told = (problem) => problem.detail || t(problem.status === 401 ? "expired" : "noAnswer");

// What was said to one user is not for the next.
export const endNotices = () => document.getElementById("notices").replaceChildren();

export function notice(text, { action = "", act = null, seconds = 6 } = {}) {
  const node = el("div", { class: "notice" }, el("p", { text }));
  const end = () => {
    clearTimeout(timer);
    node.remove();
  };
  const timer = setTimeout(end, seconds * 1000);
  if (act) {
    node.append(
      button(action, () => {
        end();
        act();
      }),
    );
  }
  node.append(button("×", end, { class: "quiet", "aria-label": t("close") }));
  document.getElementById("notices").append(node);
  return end;
}

// Runs an action of a button; what goes wrong is said, not lost.
export async function attempt(action) {
  try {
    return await action();
  } catch (problem) {
    // Who is signed out sees the form.
    if (problem.name !== "AbortError" && problem.status !== 401) notice(told(problem), { seconds: 12 });
    return undefined;
  }
}

export function copyBox(label, text) {
  const box = field(label, { type: "text", readonly: true, value: text, class: "copied" });
  const copy = button(t("copy"), async () => {
    box.input.select();
    try {
      await navigator.clipboard.writeText(text);
      notice(t("copied"));
    } catch {
      // Browsers have no clipboard on pages without TLS.
      notice(t(document.execCommand("copy") ? "copied" : "copyByHand"));
    }
  });
  return el("div", { class: "copy" }, box, copy);
}

export function bar(label, value, max = 100) {
  return el("progress", { "aria-label": label, value, max });
}

export function replace(node, ...children) {
  node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
}
