// The run as one sees it: steps in plain words, time left, pictures as they come, and how it ended.
import * as api from "./api.js";
import { attempt, bar, button, el, replace } from "./dom.js";
import { pictures } from "./pictures.js";
import { duration, has, t } from "./strings.js";

const POLL = 2000;
const PICTURES = ["frames", "images", "photos", "views"];
// A step may stop when all that it counts is done: its bar is not that of a finished one.
const STOPPED = 95;
// Steps after which there is a new picture of what has been made.
const SHOWN = ["dense_reconstruction", "mesh_generation", "texturing"];

export function runView(state, { start }) {
  const node = el("section", { class: "run", "aria-labelledby": "run-title" });
  const title = el("h2", { id: "run-title" });
  const words = el("p", { role: "status" });
  const overall = bar(t("running"), 0);
  const steps = el("ol", { class: "steps", "aria-label": t("stages") });
  const live = pictures(state);
  const preview = el("div", { class: "preview" });
  const actions = el("p", { class: "actions" });
  const log = logs(state);
  node.append(title, overall, words, actions, steps, live.node, preview, log.node);
  const shown = { preview: "" };

  let asking = 0;
  const poll = async () => {
    clearTimeout(asking);
    if (state.signal.aborted || !state.run.active) return;
    try {
      const now = await api.get(`projects/${state.id}/status`, { signal: state.signal });
      overall.value = now.progress.percentage;
      state.progress = now;
      say();
    } catch {
      // The live connection says when the service does not answer.
    }
    clearTimeout(asking);
    asking = setTimeout(poll, POLL);
  };
  state.signal.addEventListener("abort", () => clearTimeout(asking));

  const say = () => {
    words.textContent = state.run.lost ? t("liveLost") : told(state);
  };

  const cancel = async (event) => {
    event.target.disabled = true;
    state.run.cancelling = true;
    say();
    if (await attempt(() => api.call("POST", `jobs/${state.run.first.id}/cancel`))) return;
    state.run.cancelling = false;
    event.target.disabled = false;
    say();
  };

  let drawn = "";
  const draw = () => {
    const { run } = state;
    const { outcome } = run;
    node.hidden = !run.active && outcome !== "failed" && outcome !== "cancelled";
    if (node.hidden) {
      drawn = "";
      return;
    }
    title.textContent = run.active ? t(run.current ? "running" : "waiting") : t(heads[outcome]);
    overall.hidden = !run.active;
    say();
    drawSteps(steps, run);
    live.draw();
    drawPreview(state, shown, preview);
    // The buttons stay the same elements while nothing changes, so that the focus stays, too.
    const key = `${run.active} ${outcome} ${run.first?.id}`;
    if (key === drawn) return;
    const began = run.active && !drawn.startsWith("true");
    drawn = key;
    if (run.active) {
      replace(actions, button(t("cancelRun"), cancel));
      if (began) poll();
    } else {
      replace(actions, next(state, start));
    }
    log.draw();
  };
  return { node, draw };
}

const heads = { failed: "failed", cancelled: "job_cancelled" };

function told({ run, progress }) {
  if (run.outcome === "cancelled") return t("cancelled");
  if (run.outcome === "failed") return run.failure.text;
  if (run.cancelling) return t("cancelling");
  if (!run.current) return progress?.queue_position ? t("queue", { n: progress.queue_position }) : "";
  return progress?.eta_seconds ? t("timeLeft", { time: duration(progress.eta_seconds) }) : t("noTimeYet");
}

// The way on from a run that ended too early.
function next({ run, quality }, start) {
  const { flag } = run.failure;
  const options = flag ? { [flag]: true } : {};
  const keys = { force: "startAnyway", accept_partial: "acceptPartial", "": "again" };
  const key = run.outcome === "cancelled" ? "continueRun" : keys[flag];
  const again = async (event) => {
    const { target } = event;
    target.disabled = true;
    await start(quality, options);
    target.disabled = false;
  };
  return button(t(key), again, { class: "primary" });
}

// Only pictures are a unit that people know; a step that has begun without a count works.
function counted(message) {
  const found = message.match(/^([\d.]+) of ([\d.]+)\b(.*)$/);
  if (!found) return ["", "Started", "starting"].includes(message) ? t("job_running") : message;
  const [, done, total, unit] = found;
  return t(PICTURES.includes(unit.trim()) ? "countedPictures" : "counted", { done, total });
}

// A failure ends the later steps, too; nobody cancelled them.
const ended = (run, job) => (run.outcome === "failed" && job.status === "cancelled" ? "pending" : job.status);

function filled(job) {
  if (job.status === "completed") return 100;
  return ["failed", "cancelled"].includes(job.status) ? Math.min(job.progress, STOPPED) : job.progress;
}

function drawSteps(steps, run) {
  while (steps.children.length > run.jobs.length) steps.lastChild.remove();
  run.jobs.forEach((job, place) => {
    let row = steps.children[place];
    if (!row) {
      row = el(
        "li",
        {},
        el("span", { class: "name" }),
        bar("", 0),
        el("span", { class: "said" }),
      );
      steps.append(row);
    }
    const [name, progress, said] = row.children;
    const plain = has(`stage_${job.job_type}`) ? t(`stage_${job.job_type}`) : job.job_type;
    row.className = job.status;
    if (job.status === "running") row.setAttribute("aria-current", "step");
    else row.removeAttribute("aria-current");
    name.textContent = plain;
    name.title = job.job_type;
    progress.setAttribute("aria-label", plain);
    progress.value = filled(job);
    said.textContent = job.status === "running" ? counted(job.message ?? "") : t(`job_${ended(run, job)}`);
  });
}

// A picture of what the last step of those that have one has made.
function drawPreview(state, shown, preview) {
  const { run } = state;
  const last = SHOWN.filter((stage) => run.finished(stage)).pop() ?? "";
  const made = last && `${last} ${run.jobs.find((job) => job.job_type === last).id}`;
  if (made === shown.preview) return;
  shown.preview = made;
  if (made) show(state, preview, `projects/${state.id}/preview?width=1024`, t("previewAlt"));
  else preview.replaceChildren();
}

async function show(state, place, path, alt) {
  try {
    const src = await api.picture(path, state.signal);
    place.replaceChildren(el("img", { src, alt }));
  } catch {
    // A run replaces its files: the next look may have more luck.
  }
}

function logs(state) {
  const text = el("pre", { tabindex: "0", "aria-label": t("logs") });
  const node = el("details", {}, el("summary", { text: t("logs") }), text);
  const load = () =>
    attempt(async () => {
      const job = state.run.jobs.find((row) => row.status === "failed") ?? state.run.first ?? state.run.jobs[0];
      const { logs: lines } = await api.get(`jobs/${job.id}/logs`, { signal: state.signal });
      text.textContent = lines.join("\n");
    });
  node.addEventListener("toggle", () => node.open && load());
  return { node, draw: () => node.open && load() };
}
