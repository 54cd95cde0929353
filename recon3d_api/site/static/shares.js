// Links that show the model to who has no account.
import * as api from "./api.js";
import { attempt, button, check, copyBox, el, field, form, notice, replace } from "./dom.js";
import { day, t } from "./strings.js";

const DAY = 86_400_000;
const ENDS = { never: 0, week: 7 * DAY, month: 30 * DAY };

export function shares(state) {
  const made = el("div", { role: "status" });
  const list = el("ul", { class: "lines" });
  const name = field(t("shareName"), { maxlength: 200 });
  const download = check(t("shareDownload"));
  const ends = el(
    "select",
    { id: "share-ends" },
    Object.keys(ENDS).map((key) => el("option", { value: key, text: t(`ends_${key}`) })),
  );
  const create = form(
    [name, el("div", { class: "field" }, el("label", { for: "share-ends", text: t("shareEnds") }), ends), download],
    t("createLink"),
    async () => {
      const body = { download: download.input.checked };
      if (name.input.value.trim()) body.name = name.input.value.trim();
      if (ENDS[ends.value]) body.expires_at = new Date(Date.now() + ENDS[ends.value]).toISOString();
      const share = await api.post(`projects/${state.id}/shares`, body);
      const link = api.page(share.path);
      replace(
        made,
        copyBox(t("link"), link),
        el("p", {}, t("linkOnce"), " ", el("a", { href: link, target: "_blank", rel: "noopener", text: t("open") })),
      );
      create.reset();
      await load();
    },
  );
  const body = el("div", {}, el("p", { text: t("shareLead") }), create, made, list);
  const node = el("section", { class: "share" }, el("h2", { text: t("share") }), body);

  const load = async () => {
    const rows = await api.get(`projects/${state.id}/shares`, { signal: state.signal });
    replace(list, ...rows.map((row) => line(row)));
  };
  const line = (row) => {
    const label = row.name ?? t("linkUnnamed", { id: row.id });
    const end = button(
      t("endLink"),
      () =>
        attempt(async () => {
          await api.remove(`projects/${state.id}/shares/${row.id}`);
          notice(t("linkEnded"));
          made.replaceChildren();
          await load();
        }),
      { "aria-label": t("endNamed", { name: label }) },
    );
    const text = t("linkLine", { name: label, ends: ending(row), views: t("views", { n: row.views }) });
    return el("li", {}, el("span", { text }), end);
  };

  let loaded = false;
  const draw = () => {
    node.hidden = !state.files.some((file) => file.type === "textured_mesh");
    if (node.hidden || loaded) return;
    loaded = true;
    attempt(load);
  };
  return { node, draw };
}

function ending(row) {
  if (!row.expires_at) return t("endsNever");
  return t(new Date(row.expires_at) > new Date() ? "endsOn" : "endedOn", { date: day(row.expires_at) });
}
