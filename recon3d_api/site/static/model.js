// The finished model: turned and looked at in a page of its own (a frame), and downloaded.
import * as api from "./api.js";
import { attempt, button, el, replace } from "./dom.js";
import { bytes, duration, t } from "./strings.js";

// In the order in which most people want them.
const TYPES = ["textured_mesh", "normal_map", "report", "mesh", "point_cloud", "sparse", "frames"];

export function model(state) {
  const node = el("section", { class: "model", "aria-labelledby": "model-title" });
  const title = el("h2", { id: "model-title", text: t("model") });
  const age = el("div", {});
  const stage = el("div", { class: "stage" });
  const said = el("div", {});
  const downloads = el("div", {});
  node.append(title, age, stage, said, downloads);

  let framed = "";
  let listed = "";
  const draw = () => {
    const made = state.files.find((file) => file.type === "textured_mesh");
    const offered = TYPES.filter((type) => state.files.some((file) => file.type === type));
    const { run } = state;
    const shown = made && !run.active;
    node.hidden = !made && !offered.includes("mesh");
    title.hidden = stage.hidden = !made;
    replace(age, made?.outdated && el("p", { class: "level doubtful", text: t("outdatedModel") }));
    replace(said, shown ? result(state, made) : null);
    const model = made && `${state.row.name} ${made.modified}`;
    if (made && model !== framed) {
      framed = model;
      attempt(() => show(state, stage));
    }
    const old = offered.filter((type) => state.files.some((file) => file.type === type && file.outdated));
    const list = `${offered} ${old} ${made?.modified}`;
    if (list === listed) return;
    listed = list;
    const rows = (types) => types.map((type) => el("li", {}, download(state, type)));
    const current = offered.filter((type) => !old.includes(type));
    replace(
      downloads,
      el("h3", { text: t("downloads") }),
      current.length > 0 && el("ul", { class: "downloads" }, rows(current)),
      old.length > 0 && el("p", { class: "level doubtful", id: "outdated-files", text: t("outdatedFiles") }),
      old.length > 0 && el("ul", { class: "downloads", "aria-labelledby": "outdated-files" }, rows(old)),
    );
  };
  return { node, draw };
}

function result(state, made) {
  const { notes } = state.run;
  // The newest run's verdict is not that of a model that it did not make; nor are its numbers.
  const verdict = made.outdated ? null : state.run.verdict;
  const { processing_time: seconds, total_frames: frames } = state.row;
  return [
    verdict && el("p", { class: `level ${verdict.level}`, text: t(`verdict_${verdict.level}`) }),
    verdict && el("p", { text: verdict.text }),
    seconds > 0 && !made.outdated && el("p", { class: "hint", text: t("made", { time: duration(seconds), frames }) }),
    notes.length > 0 &&
      el(
        "details",
        {},
        el("summary", { text: `${t("notes")} (${notes.length})` }),
        el("ul", {}, notes.map((text) => el("li", { text }))),
      ),
  ].filter(Boolean);
}

async function show(state, stage) {
  const address = await api.ticketed(`projects/${state.id}/page`, state.id, "page");
  // On a narrow screen the tools are folded away.
  const src = matchMedia("(max-width: 40rem)").matches ? `${address}&embed` : address;
  if (state.signal.aborted) return;
  const name = t("modelFrame", { name: state.row.name });
  const wait = el("p", { class: "busy", role: "status", text: t("modelLoading") });
  const frame = el("iframe", { src, title: name, allow: "fullscreen" });
  frame.addEventListener("load", () => {
    // The model's page is a stranger to this one; what can be read is an error.
    const error = frame.contentDocument?.body?.textContent;
    if (error) replace(stage, el("p", { class: "error", text: t("modelFailed", { reason: reason(error) }) }));
    else wait.remove();
  });
  replace(stage, frame, wait);
}

function reason(text) {
  try {
    return JSON.parse(text).detail;
  } catch {
    return text.slice(0, 200);
  }
}

function download(state, type) {
  const rows = state.files.filter((file) => file.type === type);
  const size = bytes(rows.reduce((sum, file) => sum + file.size, 0));
  return button(`${t(`download_${type}`)} – ${size}`, () =>
    attempt(async () => {
      const href = await api.ticketed(`files/download/${state.id}/${type}`, state.id, type);
      el("a", { href, download: "" }).click();
    }),
  );
}
