// The projects as cards, with search; and a new one.
import * as api from "./api.js";
import { attempt, button, el, field, form, replace } from "./dom.js";
import { withdrawn } from "./removal.js";
import { moment, t } from "./strings.js";

const MANY = 24;
const PAUSE = 250;

export async function projects({ main, signal, go }) {
  const name = field(t("name"), { required: true, maxlength: 200, placeholder: t("namePlaceholder") });
  const create = form([name], t("create"), async () => {
    const made = await api.post("projects", { name: name.input.value });
    go(`/projects/${made.id}`);
  });
  const search = field(t("search"), { type: "search" });
  const told = el("p", { class: "hint", role: "status" });
  const list = el("ul", { class: "cards" });
  const more = button(t("moreProjects"), () => attempt(() => load(list.childElementCount)), { hidden: true });

  let asked = 0;
  const load = async (skip) => {
    const mine = (asked += 1);
    const text = search.input.value.trim();
    const query = new URLSearchParams({ skip, limit: MANY, order: "-updated_at" });
    if (text) query.set("search", text);
    const answer = await api.call("GET", `projects?${query}`, { signal });
    const found = await answer.json();
    if (mine !== asked) return; // a newer search is on its way
    const rows = found.filter((row) => !withdrawn.has(row.id));
    const total = Number(answer.headers.get("X-Total-Count")) - (found.length - rows.length);
    if (!skip) list.replaceChildren();
    list.append(...rows.map((row) => card(row, signal)));
    const empty = text ? t("noMatch", { text }) : t("noProjects");
    told.textContent = total ? t("projectCount", { n: total }) : empty;
    search.hidden = !total && !text;
    more.hidden = list.childElementCount >= total;
  };

  let timer = 0;
  search.input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => attempt(() => load(0)), PAUSE);
  });
  signal.addEventListener("abort", () => clearTimeout(timer));
  await load(0);
  if (signal.aborted) return;
  replace(
    main,
    el("h1", { text: t("projects") }),
    el("section", { class: "new", "aria-label": t("newProject") }, el("h2", { text: t("newProject") }), create),
    search,
    told,
    list,
    more,
  );
}

function card(row, signal) {
  const picture = el("div", { class: "thumb" });
  fill(picture, row, signal);
  return el(
    "li",
    { class: "card" },
    el(
      "a",
      { href: `#/projects/${row.id}` },
      picture,
      el("h2", { text: row.name }),
      el("p", { class: `status ${row.status}`, text: t(`status_${row.status}`) }),
      el("p", { class: "hint", text: t("changed", { date: moment(row.updated_at) }) }),
    ),
  );
}

async function fill(place, row, signal) {
  try {
    const src = await api.picture(`projects/${row.id}/preview?width=512`, signal);
    place.append(el("img", { src, alt: t("thumbAlt", { name: row.name }) }));
  } catch {
    if (!signal.aborted) place.append(el("span", { class: "hint", text: t("noPicture") }));
  }
}
