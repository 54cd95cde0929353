// The uploads of the projects: they continue while other views are shown, until the page is closed.
import { get } from "./api.js";
import { Upload } from "./tus.js";

// A server checks one or two files of a user at a time.
const TOGETHER = 2;
const known = new Map();

export function uploadsOf(projectId) {
  if (!known.has(projectId)) known.set(projectId, new Uploads(projectId));
  return known.get(projectId);
}

// The next user of this page must not send the files of the one before.
export function endUploads() {
  for (const uploads of known.values()) {
    uploads.changed = () => {};
    uploads.ended = true;
    for (const upload of uploads.all) if (!upload.over) upload.leave();
  }
  known.clear();
}

addEventListener("beforeunload", (event) => {
  if ([...known.values()].some((uploads) => uploads.busy)) event.preventDefault();
});

// As the service keeps a name: compared, to see whether one is taken.
const plain = (name) => name.replace(/[^\p{L}\p{N}_.-]+/gu, "_").toLowerCase();
const base = (path) => path.split("/").pop();

// A refused file stops no other.
class Uploads {
  constructor(projectId) {
    this.projectId = projectId;
    this.all = [];
    this.running = 0;
    this.stored = 0;
    this.total = 0;
    // Names of the project's files: those that the page lists, and those that were added since.
    this.listed = () => [];
    this.names = new Set();
    // What became of files whose names were taken, for people: [{ name, kept }].
    this.renamed = [];
    this.same = [];
    this.changed = () => {};
    this.ended = false;
  }

  get busy() {
    return this.all.some((upload) => !upload.over);
  }

  // Those that need not be shown any more.
  drop(which) {
    this.all = this.all.filter((upload) => !which(upload));
  }

  listen(changed, signal) {
    this.changed = changed;
    changed();
    signal.addEventListener("abort", () => {
      if (this.changed === changed) this.changed = () => {};
    });
  }

  add(files) {
    // A large folder is read for a while: its user may have gone meanwhile.
    if (this.ended) return;
    // Asked for once for all of these files.
    let asked = null;
    const earlier = () => {
      asked ??= get("files/uploads").catch((error) => {
        asked = null;
        throw error;
      });
      return asked;
    };
    this.total = this.stored + this.all.length + files.length;
    if (!this.busy) this.renamed = this.same = [];
    for (const file of files) {
      this.all.push(new Upload(this.projectId, file, earlier, (upload) => this.changed(upload)));
    }
    this.changed();
    this.begin();
  }

  resume(upload) {
    upload.become("waiting");
    this.begin();
  }

  // Two cameras, or one that counts anew, use a name again: nobody should look for a file in vain.
  async learn(upload) {
    const { name } = upload.file;
    try {
      const { file_path: path } = await get(`files/uploads/${upload.id}`);
      const kept = base(path);
      const kind = plain(kept) === plain(name) ? "same" : "renamed";
      this[kind] = [...this[kind], { name, kept }];
    } catch {
      // The list of files shows the new name.
    }
  }

  begin() {
    while (this.running < TOGETHER && this.next) this.work();
  }

  get next() {
    return this.all.find((upload) => upload.state === "waiting" && !upload.active);
  }

  async work() {
    this.running += 1;
    for (let upload = this.next; upload; upload = this.next) {
      upload.active = true;
      const name = plain(upload.file.name);
      const taken = this.listed().some((path) => plain(base(path)) === name);
      await upload.run();
      if (upload.state === "stored" && !this.ended) {
        const asked = taken || this.names.has(name);
        this.names.add(name);
        if (asked) await this.learn(upload);
      }
      upload.active = false;
      this.stored += upload.state === "stored";
      this.changed();
    }
    this.running -= 1;
  }
}
