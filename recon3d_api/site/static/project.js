// One project: its files, its run, its model. Each part is a section that is drawn anew when it changes.
import * as api from "./api.js";
import { attempt, button, el, field, form, replace } from "./dom.js";
import { choice } from "./choice.js";
import { follow } from "./live.js";
import { inputs } from "./inputs.js";
import { model } from "./model.js";
import { withdraw } from "./removal.js";
import { Run } from "./run.js";
import { runView } from "./run_view.js";
import { shares } from "./shares.js";
import { t } from "./strings.js";

export async function project({ main, signal, go, gone }, id) {
  const state = { id: Number(id), row: null, files: [], run: new Run(), quality: "medium", starting: false, signal };

  const load = async () => {
    const options = { signal };
    [state.row, state.files] = await Promise.all([
      api.get(`projects/${id}`, options),
      api.get(`files/list/${id}`, options),
    ]);
  };
  // The newest run's jobs; they tell its quality, which the live events do not.
  const learn = async () => {
    const { jobs } = await api.get(`jobs/project/${id}/status`, { signal });
    const next = jobs.findIndex((job, place) => place > 0 && job.job_type === jobs[0].job_type);
    state.run.begin(next < 0 ? jobs : jobs.slice(0, next));
    state.quality = jobs[0]?.parameters.quality ?? state.quality;
  };
  await Promise.all([load(), learn()]);

  const reload = () =>
    attempt(async () => {
      await load();
      draw();
    });
  // Two buttons start a run, and a person may press them twice.
  const start = async (quality, options = {}) => {
    if (state.starting) return;
    state.starting = true;
    draw();
    await attempt(async () => {
      const made = await api.post(`projects/${id}/start-reconstruction?quality=${quality}`, options);
      state.run.begin(made.jobs);
      scrollTo({ top: 0 });
    });
    state.starting = false;
    draw();
    await reload();
  };

  const heading = head(state, { reload, go });
  const parts = [
    runView(state, { start }),
    model(state),
    shares(state),
    inputs(state, { reload }),
    choice(state, { start }),
  ];
  const draw = () => {
    if (signal.aborted) return;
    heading.draw();
    for (const part of parts) part.draw();
  };

  replace(main, heading.node, ...parts.map((part) => part.node));
  draw();
  follow(
    state.id,
    (message) => {
      if (message.event === "gone") {
        gone();
        return;
      }
      const was = state.run.active;
      // Jobs that are not known are of a run that began elsewhere.
      const known = state.run.take(message);
      if (!known) attempt(learn).then(reload);
      else if (was !== state.run.active || message.event === "job_completed") reload();
      else draw();
    },
    signal,
  );
}

function head(state, { reload, go }) {
  const title = el("h1", { tabindex: "-1" });
  const status = el("p", {});
  const place = el("div", {});
  const rename = button(t("rename"), () => {
    const name = field(t("name"), { value: state.row.name, required: true, maxlength: 200 });
    const end = () => {
      place.replaceChildren();
      rename.hidden = false;
      rename.focus();
    };
    const send = form([name], t("save"), async () => {
      await api.call("PUT", `projects/${state.id}`, { json: { name: name.input.value } });
      end();
      await reload();
    });
    send.append(button(t("cancel"), end));
    place.replaceChildren(send);
    rename.hidden = true;
    name.input.focus();
  });
  const remove = button(
    t("deleteProject"),
    () => {
      withdraw(state.row, () => {
        if (location.hash.slice(1) === "/") dispatchEvent(new HashChangeEvent("hashchange"));
      });
      go("/");
    },
    { class: "danger" },
  );
  const node = el(
    "div",
    { class: "head" },
    el("p", {}, el("a", { href: "#/", text: `← ${t("toProjects")}` })),
    el("div", { class: "line" }, el("div", {}, title, status), el("p", { class: "actions" }, rename, remove)),
    place,
  );
  const draw = () => {
    title.textContent = state.row.name;
    status.className = `status ${state.row.status}`;
    // A cancelled run gives the project its former status back, which may be that of a new one.
    const cancelled = state.row.status === "draft" && state.run.outcome === "cancelled";
    status.textContent = t(cancelled ? "job_cancelled" : `status_${state.row.status}`);
    // The API refuses it while a run works.
    remove.hidden = state.run.active;
  };
  return { node, draw };
}
