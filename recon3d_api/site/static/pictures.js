// The pictures that a run has chosen and the depth maps that it measures, as they come.
import * as api from "./api.js";
import { el, replace } from "./dom.js";
import { t } from "./strings.js";

// A map is drawn once, however many look; so often the page asks for the newest ones.
const EVERY = 2000;
const KINDS = {
  frames: { stage: "frame_extraction", most: 8, width: 256, row: thumbnails },
  depth_maps: { stage: "dense_reconstruction", most: 4, width: 512, row: pairs },
};

export function pictures(state) {
  const strips = Object.entries(KINDS).map(([kind, about]) => strip(state, kind, about));
  const node = el("div", {}, strips.map((one) => one.node));
  return { node, draw: () => strips.forEach((one) => one.draw()) };
}

function strip(state, kind, { stage, most, width, row }) {
  const node = el("div", { class: `strip ${kind}` });
  const shown = shelf(state);
  let drawn = "";
  let busy = false;
  let next = 0;
  let timer = 0;
  state.signal.addEventListener("abort", () => clearTimeout(timer));

  const look = async (job, stamp) => {
    busy = true;
    try {
      const path = `projects/${state.id}/pictures/${kind}`;
      const find = job.status === "running" ? newest : spread;
      const { chosen, total } = await find((query) => page(path, query, state.signal), most);
      const wanted = row(state.id, chosen, total, width);
      // Between two folders of a stage there is nothing for a moment: what was shown stays.
      if (chosen.length) replace(node, await shown.put(wanted));
      drawn = stamp;
    } catch {
      // A run replaces its files: the next look may have more luck.
    }
    busy = false;
    next = performance.now() + EVERY;
    draw();
  };

  const draw = () => {
    const job = state.run.jobs.find((one) => one.job_type === stage);
    const begun = job && (job.status === "running" || job.status === "completed" || job.progress > 0);
    const stamp = begun ? `${job.id} ${job.status} ${job.pictures ?? ""}` : "";
    if (stamp === drawn || busy || state.signal.aborted) return;
    clearTimeout(timer);
    if (!stamp) {
      drawn = stamp;
      shown.clear();
      node.replaceChildren();
      return;
    }
    const wait = next - performance.now();
    if (wait <= 0) look(job, stamp);
    else timer = setTimeout(draw, wait);
  };
  return { node, draw };
}

async function page(path, query, signal) {
  const answer = await api.call("GET", `${path}?${query}`, { queue: "later", signal });
  return { rows: await answer.json(), total: Number(answer.headers.get("X-Total-Count")) };
}

// Each of those that are chosen knows its number among all.
async function newest(ask, most) {
  const { rows, total } = await ask(`order=-modified&limit=${most}`);
  rows.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { chosen: rows.map((row, n) => ({ ...row, n: total - rows.length + n + 1 })), total };
}

// Of those that are finished, some from the whole, however many there are.
async function spread(ask, most) {
  const { rows, total } = await ask(`order=name&limit=${most}`);
  if (total <= most) return { chosen: rows.map((row, n) => ({ ...row, n: n + 1 })), total };
  const places = Array.from({ length: most }, (_, n) => Math.floor((n * (total - 1)) / (most - 1)));
  const found = await Promise.all(places.map((place) => ask(`order=name&skip=${place}&limit=1`)));
  return { chosen: found.flatMap((one, i) => one.rows.map((row) => ({ ...row, n: places[i] + 1 }))), total };
}

const address = (id, kind, name, width) =>
  `projects/${id}/pictures/${kind}/${name.split("/").map(encodeURIComponent).join("/")}?width=${width}`;

function thumbnails(id, chosen, total, width) {
  const images = chosen.map(({ name, modified, n }) => ({
    path: address(id, "frames", name, width),
    modified,
    alt: t("pictureAlt", { n }),
  }));
  const put = (shown) => [el("p", { class: "hint", text: t("pictures", { n: total }) }), el("div", {}, shown)];
  return { images, put };
}

// A depth map beside its picture.
function pairs(id, chosen, total, width) {
  const images = chosen.flatMap(({ name, modified }) => [
    { path: address(id, "frames", name, width), modified: "", alt: t("frameAlt", { name }) },
    { path: address(id, "depth_maps", name, width), modified, alt: t("depthAlt", { name }) },
  ]);
  const put = (shown) => [
    el("p", { class: "hint", text: t("depthMaps", { n: total }) }),
    el(
      "div",
      {},
      chosen.map(({ name }, n) =>
        el("figure", {}, shown[2 * n], shown[2 * n + 1], el("figcaption", { class: "hint", text: name })),
      ),
    ),
  ];
  return { images, put };
}

// Keeps the pictures that are shown, so that nothing is loaded twice, and frees the others.
function shelf(state) {
  let kept = new Map();
  const free = (old, used) => {
    for (const [key, url] of old) if (!used.has(key)) URL.revokeObjectURL(url);
  };
  const clear = () => {
    free(kept, new Map());
    kept = new Map();
  };
  state.signal.addEventListener("abort", clear);

  const put = async ({ images, put: place }) => {
    const used = new Map();
    const loads = await Promise.allSettled(
      images.map(async ({ path, modified, alt }) => {
        const key = `${path} ${modified}`;
        try {
          used.set(key, kept.get(key) ?? (await loaded(path, state.signal)));
        } catch (problem) {
          if (problem.name === "AbortError") throw problem;
          return el("span", { class: "none", title: alt }); // a depth map may know nothing yet
        }
        return el("img", { src: used.get(key), alt });
      }),
    );
    if (state.signal.aborted) free(used, new Map());
    state.signal.throwIfAborted();
    free(kept, used);
    kept = used;
    return place(loads.map(({ value }) => value));
  };
  return { put, clear };
}

async function loaded(path, signal) {
  const answer = await api.call("GET", path, { queue: "later", signal });
  return URL.createObjectURL(await answer.blob());
}
