// A project's videos and photos: added by drag and drop, a file picker or a phone's camera roll; and removed.
import * as api from "./api.js";
import { attempt, bar, button, el, notice, replace } from "./dom.js";
import { dropped } from "./dropped.js";
import { t } from "./strings.js";
import { discard, isOurs } from "./tus.js";
import { uploadsOf } from "./uploads.js";

const names = new Intl.Collator(undefined, { numeric: true });
const byName = (a, b) => names.compare(a.path, b.path);

const MANY = 24;
// Waiting uploads that are listed.
const NEXT = 4;
// A list of a thousand photos is not asked for after each of them.
const PAUSE = 1500;

export function inputs(state, { reload }) {
  const list = el("ul", { class: "files" });
  const count = el("h2", { text: t("files") });
  const drop = dropArea(state, (files) => uploads.add(files));
  const going = el("ul", { class: "uploads", "aria-label": t("uploads") });
  const old = el("div", {});
  const told = el("div", { role: "status" });
  const node = el("section", { class: "inputs" }, count, drop.node, old, going, told, list);
  let most = MANY;

  let timer = 0;
  const uploads = uploadsOf(state.id);
  uploads.listed = () => state.files.map((file) => file.path).filter((path) => path.startsWith("inputs/"));
  let added = uploads.stored;
  const changed = (upload) => {
    // Of hundreds of files, one moves on.
    if (upload?.row && upload.state !== "gone") upload.row.draw();
    else drawUploads(going, uploads);
    drawNames(told, uploads);
    if (uploads.stored === added) return;
    added = uploads.stored;
    clearTimeout(timer);
    timer = setTimeout(reload, uploads.busy ? PAUSE : 0);
  };
  uploads.listen(changed, state.signal);
  state.signal.addEventListener("abort", () => clearTimeout(timer));
  attempt(() => unfinished(state, old, uploads));

  let drawn = null;
  const draw = () => {
    // What was added is in the list of files now.
    uploads.drop((upload) => upload.state === "stored");
    drawUploads(going, uploads);
    const rows = state.files.filter((file) => file.path.startsWith("inputs/")).sort(byName);
    drop.small(rows.length > 0);
    const key = `${most} ${rows.map((file) => file.path).join("|")} ${state.run.active}`;
    if (key === drawn) return;
    drawn = key;
    count.textContent = rows.length ? `${t("files")} (${rows.length})` : t("addFiles");
    const shown = rows.slice(0, most).map((file) => fileCard(state, file, reload));
    const more = rows.length > most && el("li", {}, button(t("moreProjects"), showMore));
    replace(list, ...shown, more);
  };
  const showMore = () => {
    most += MANY;
    draw();
  };
  return { node, draw };
}

function dropArea(state, add) {
  // The whole area is the label: a click or a tap anywhere opens the picker.
  const picker = el("input", {
    type: "file",
    multiple: true,
    accept: "image/*,video/*",
    id: "picker",
    "aria-describedby": "picker-hint",
  });
  const lead = el("span", { class: "lead", text: t("drop") });
  const hint = el("p", { class: "hint", id: "picker-hint" });
  const area = el("label", { class: "drop", for: "picker" }, lead, el("span", { class: "as-button", text: t("choose") }), picker);
  const node = el("div", {}, area, el("p", { class: "hint", text: t("takeHint") }), hint);
  picker.addEventListener("change", () => {
    add([...picker.files]);
    picker.value = ""; // the same file can be chosen again
  });
  const over = (on) => (event) => {
    event.preventDefault();
    area.classList.toggle("over", on);
  };
  area.addEventListener("dragover", over(true));
  area.addEventListener("dragleave", over(false));
  area.addEventListener("drop", (event) => {
    over(false)(event);
    attempt(async () => add(await dropped(event.dataTransfer)));
  });
  // A file that is dropped beside the area must not replace the page.
  for (const name of ["dragover", "drop"]) {
    addEventListener(name, (event) => event.preventDefault(), { signal: state.signal });
  }
  attempt(async () => {
    const allowed = await api.about();
    const formats = [...allowed.video_formats, ...allowed.image_formats].join(", ");
    hint.textContent = t("formats", { formats, size: `${Math.floor(allowed.max_upload_bytes / 2 ** 20)} MB` });
  });
  return { node, small: (on) => area.classList.toggle("small", on) };
}

// Uploads of earlier visits: a page cannot open the file again by itself.
async function unfinished(state, place, uploads) {
  const rows = await api.get("files/uploads", { signal: state.signal });
  const mine = rows.filter((row) => row.project_id === state.id && row.status === "receiving" && !row.hold);
  const started = new Set(uploads.all.map((upload) => upload.id));
  replace(
    place,
    mine
      .filter((row) => !started.has(row.id))
      .map((row) => {
        const { name } = row;
        const percent = row.length ? Math.floor((100 * row.offset) / row.length) : 0;
        const stop = button("×", () => attempt(() => discard(row.id).then(() => line.remove())), {
          class: "quiet",
          "aria-label": t("cancelFile", { name }),
        });
        const text = t(isOurs(row) ? "unfinished" : "unfinishedElsewhere", { name, percent });
        const line = el("p", { class: "hint" }, text, stop);
        return line;
      }),
  );
}

function drawUploads(place, uploads) {
  uploads.drop((upload) => upload.state === "gone");
  const waiting = uploads.all.filter((upload) => upload.state === "waiting");
  const hidden = new Set(waiting.slice(NEXT));
  const rows = uploads.all
    .filter((upload) => !hidden.has(upload))
    .map((upload) => {
      upload.row ??= uploadRow(upload, uploads);
      upload.row.draw();
      return upload.row.node;
    });
  const told = uploads.busy && uploads.total > 1 && t("uploaded", { done: uploads.stored, n: uploads.total });
  replace(place, told && el("li", { class: "total", text: told }), rows);
}

// What became of files whose names were taken.
function drawNames(place, uploads) {
  const lines = ["renamed", "same"]
    .filter((kind) => uploads[kind].length)
    .map((kind) => t(`up_${kind}`, { n: uploads[kind].length, ...uploads[kind].at(-1) }));
  if (lines.join() !== [...place.children].map((line) => line.textContent).join()) {
    replace(place, ...lines.map((text) => el("p", { class: "hint", text })));
  }
}

function uploadRow(upload, uploads) {
  const { name } = upload.file;
  const progress = bar(name, 0);
  const said = el("span", { class: "said" });
  const toggle = button("", () => {
    if (upload.state === "paused") uploads.resume(upload);
    else upload.pause();
  });
  const stop = button("×", () => attempt(() => upload.cancel()), { class: "quiet" });
  const node = el("li", {}, el("span", { class: "name", text: name }), progress, said, toggle, stop);
  const draw = () => {
    const { state, percent, reason } = upload;
    const paused = state === "paused";
    node.className = state;
    progress.value = state === "stored" ? 100 : percent;
    progress.hidden = state === "refused";
    said.textContent = t(`up_${state}`, { percent, reason });
    toggle.textContent = t(paused ? "resume" : "pause");
    toggle.setAttribute("aria-label", t(paused ? "resumeFile" : "pauseFile", { name }));
    toggle.hidden = upload.over || state === "checking";
    stop.setAttribute("aria-label", t(upload.over ? "dismiss" : "cancelFile", { name }));
  };
  return { node, draw };
}

function fileCard(state, file, reload) {
  const name = file.path.split("/").pop();
  const place = el("div", { class: "thumb" });
  if (file.type === "image") {
    fill(state, place, `${api.file(state.id, file.path)}?width=256`, t("filesAlt", { name }));
  } else place.append(el("span", { class: "film", text: t("videoFile") }));
  const remove = button(
    "×",
    () =>
      attempt(async () => {
        const told = await api.remove(api.file(state.id, file.path));
        notice(told.message);
        await reload();
      }),
    { class: "quiet", "aria-label": t("removeFile", { name }), hidden: state.run.active },
  );
  return el("li", {}, place, el("span", { class: "name", text: name }), remove);
}

async function fill(state, place, path, alt) {
  try {
    place.append(el("img", { src: await api.picture(path, state.signal), alt }));
  } catch {
    // The file was removed meanwhile: the list is drawn anew.
  }
}
