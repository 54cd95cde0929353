// Before a run: what the service thinks of the files, and which quality takes how long.
import * as api from "./api.js";
import { button, el, replace, told } from "./dom.js";
import { uploadsOf } from "./uploads.js";
import { bytes, span, t } from "./strings.js";

const QUALITIES = ["low", "medium", "high", "extreme"];

export function choice(state, { start }) {
  const advice = el("div", { class: "advice", role: "status" });
  const options = el("div", { class: "qualities" });
  const source = el("p", { class: "hint" });
  const begin = button(t("start"), () => start(state.quality, state.forced ? { force: true } : {}), {
    class: "primary",
  });
  const body = el(
    "div",
    {},
    el("h3", { text: t("checkTitle") }),
    advice,
    el("fieldset", {}, el("legend", { text: t("quality") }), options, source),
    el("p", { class: "actions" }, begin),
  );
  const title = el("h2", { text: t("start") });
  const summary = el("summary", { text: t("remake") });
  const fold = el("details", {}, summary);
  const node = el("section", { class: "choice" });

  const rows = QUALITIES.map((quality) => {
    const id = `quality-${quality}`;
    const input = el("input", { type: "radio", name: "quality", id, value: quality, "aria-describedby": `${id}-cost` });
    input.addEventListener("change", () => {
      state.quality = quality;
    });
    const cost = el("span", { class: "cost", id: `${id}-cost` });
    const row = el(
      "label",
      { for: id },
      input,
      el("strong", { text: t(`quality_${quality}`) }),
      el("span", { text: t(`qualityHint_${quality}`) }),
      cost,
    );
    return { row, input, cost, quality };
  });
  options.append(...rows.map(({ row }) => row));

  let checked = "";
  let blank = false;
  const look = async (key) => {
    checked = key;
    replace(advice, el("p", { class: "busy", text: t("checking") }));
    try {
      const found = await api.get(`projects/${state.id}/check`, { signal: state.signal });
      if (checked === key) show(found);
    } catch (problem) {
      if (checked !== key || problem.name === "AbortError") return;
      replace(advice, el("p", { class: "error", text: t("checkFailed", { reason: told(problem) }) }));
    }
  };

  const show = (found) => {
    // The service refuses such a run unless it is told to try.
    blank = found.blank;
    state.forced = found.level === "hopeless" && !blank;
    begin.textContent = t(state.forced ? "startAnyway" : "start");
    begin.disabled = blank || state.starting;
    replace(
      advice,
      el("p", { class: `level ${found.level}`, text: t(`check_${found.level}`) }),
      el("ul", {}, found.advice.map((text) => el("li", { text }))),
      el(
        "details",
        {},
        el("summary", { text: t("whatWasSeen") }),
        el("ul", {}, [...found.sentences, ...found.notes].map((text) => el("li", { text }))),
      ),
    );
    for (const { cost, row, quality } of rows) {
      const estimate = found.estimates.find((one) => one.quality === quality);
      if (!estimate) continue;
      const time = span(estimate.seconds, estimate.error);
      cost.textContent = t("estimate", { time, frames: estimate.frames });
      row.title = t("resources", { memory: bytes(estimate.memory), disk: bytes(estimate.disk) });
    }
    source.textContent = found.speed_from && t("speedFrom", { source: found.speed_from });
  };

  const draw = () => {
    const files = state.files.filter((file) => file.path.startsWith("inputs/"));
    node.hidden = !files.length || state.run.active;
    if (node.hidden) return;
    // Once there is a model, making another one is a matter for those who ask.
    const again = state.files.some((file) => file.type === "textured_mesh");
    if (again && body.parentElement !== fold) {
      fold.append(body);
      replace(node, fold);
    } else if (!again && body.parentElement !== node) replace(node, title, body);
    begin.disabled = blank || state.starting;
    for (const { input, quality } of rows) input.checked = quality === state.quality;
    const key = files.map((file) => `${file.path} ${file.modified}`).join("|");
    const wanted = !again || fold.open;
    if (wanted && key !== checked && !uploadsOf(state.id).busy) look(key);
  };
  fold.addEventListener("toggle", draw);
  return { node, draw };
}
