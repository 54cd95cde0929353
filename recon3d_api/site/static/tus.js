// One file's upload by tus 1.0: it resumes after a pause, a lost connection or a new visit.
import { address, ApiError, call, get, token } from "./api.js";
import { owner } from "./session.js";

const TUS = { "Tus-Resumable": "1.0.0" };
// A connection that takes no byte for so long is dead, even if the browser has not noticed.
const SILENCE = 30_000;
// Answers in a row that say the service cannot now; a lost connection is waited for.
const MOST_FAILURES = 60;
const PASSING = [408, 423, 429, 460, 500, 502, 503, 504];
// Which file an upload is of: the service knows a name and a length only, and cameras use names again.
const FILE = "recon3d.upload.";
const mark = (file) => `${file.lastModified} ${file.size}`;
// Whether this browser began an upload, and so can resume it.
export const isOurs = ({ id }) => localStorage.getItem(FILE + id) !== null;

export async function discard(id) {
  localStorage.removeItem(FILE + id);
  await call("DELETE", `files/uploads/${id}`, { headers: TUS });
}

const encoded = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

// state: waiting, sending, checking, paused, offline; and at the end stored, later, refused.
export class Upload {
  // `earlier` gives the uploads that the service knows; `changed` is told of every step.
  constructor(projectId, file, earlier, changed) {
    this.projectId = projectId;
    this.file = file;
    this.earlier = earlier;
    this.changed = changed;
    this.state = "waiting";
    this.reason = "";
    this.sent = 0;
    this.id = "";
    this.active = false;
    this.request = null;
    this.wake = null;
    this.owner = owner();
  }

  get over() {
    return ["stored", "later", "refused", "gone"].includes(this.state);
  }

  get percent() {
    return this.file.size ? Math.floor((100 * this.sent) / this.file.size) : 0;
  }

  become(state, reason = "") {
    this.state = state;
    this.reason = reason;
    if (["stored", "later", "refused"].includes(state)) localStorage.removeItem(FILE + this.id);
    this.changed(this);
  }

  pause() {
    if (this.over || this.state === "checking") return;
    this.become("paused");
    this.request?.abort();
    this.wake?.();
  }

  // The session ends: nothing more is sent, and what the service has is kept for another visit. A complete
  // file that is being checked is not cut.
  leave() {
    const complete = this.state === "checking";
    this.become("gone");
    if (!complete) this.request?.abort();
    this.wake?.();
  }

  async cancel() {
    const id = this.over ? "" : this.id;
    this.become("gone");
    this.request?.abort();
    this.wake?.();
    if (id) await discard(id);
  }

  // Sends the file; comes back when it is over or paused. Does not throw.
  async run() {
    let failures = 0;
    while (!this.over && this.state !== "paused") {
      const before = this.sent;
      try {
        await this.attempt();
      } catch (error) {
        if (this.owner !== owner()) this.leave(); // before the page hears of it
        if (this.over || this.state === "paused" || error.name === "AbortError") continue;
        const answered = error instanceof ApiError;
        failures = this.sent > before ? 1 : failures + 1;
        if (answered && error.status === 401) this.become("paused"); // until the user is back
        else if (answered && error.status === 410) await this.settle(error).catch(() => this.pauseFor(failures));
        else if (answered && (!PASSING.includes(error.status) || failures > MOST_FAILURES)) {
          this.become("refused", error.detail);
        } else await this.pauseFor(failures);
      }
    }
  }

  async pauseFor(failures) {
    this.become("offline");
    await new Promise((resolve) => {
      this.wake = resolve;
      addEventListener("online", resolve, { once: true });
      setTimeout(resolve, Math.min(500 * 2 ** failures, 15_000));
    });
  }

  async attempt() {
    let offset = 0;
    if (!this.id) await this.find();
    if (this.over || this.state === "paused") return;
    if (this.id) offset = await this.offset();
    else await this.create();
    if (this.over || this.state === "paused") return;
    this.sent = offset;
    this.become("sending");
    const answer = await this.patch(offset);
    if (answer.status === 204) {
      this.sent = Number(answer.headers["upload-offset"]);
      if (this.sent === this.file.size) this.become("stored");
    } else if (answer.status === 409) {
      // Another offset is asked for again; a complete file waits for the end of a run.
      if (answer.headers["upload-offset"] === undefined) this.become("later");
    } else if (answer.status === 400) {
      await this.settle(answer);
    } else throw new ApiError(answer.status, answer.detail);
  }

  // 400 is a cut connection or a refused file; only the upload itself tells which.
  async settle(answer) {
    if (this.state === "gone") return; // nobody who may ask is there any more
    const known = await get(`files/uploads/${this.id}`);
    if (known.status === "refused") this.become("refused", known.error);
    else if (known.status === "stored") this.become("stored");
    else throw new ApiError(408, answer.detail);
  }

  // An earlier visit may have sent a part of this very file.
  async find() {
    const found = (await this.earlier()).find(
      (row) =>
        row.project_id === this.projectId &&
        row.name === this.file.name &&
        row.length === this.file.size &&
        row.status === "receiving" &&
        !row.hold &&
        localStorage.getItem(FILE + row.id) === mark(this.file),
    );
    this.id = found?.id ?? "";
  }

  async create() {
    const metadata = `filename ${encoded(this.file.name)},project_id ${encoded(String(this.projectId))}`;
    const answer = await call("POST", "files/uploads", {
      headers: { ...TUS, "Upload-Length": String(this.file.size), "Upload-Metadata": metadata },
    });
    // A proxy may have put a prefix before the service: only the name counts.
    this.id = answer.headers.get("Location").split("/").pop();
    localStorage.setItem(FILE + this.id, mark(this.file));
  }

  async offset() {
    const answer = await call("HEAD", `files/uploads/${this.id}`, { headers: TUS });
    return Number(answer.headers.get("Upload-Offset"));
  }

  // XMLHttpRequest, because fetch does not tell how much has been sent.
  async patch(offset) {
    const access = await token(this.owner);
    if (this.over || this.state === "paused") throw new DOMException("", "AbortError");
    const request = new XMLHttpRequest();
    this.request = request;
    let silence = 0;
    const cut = () => {
      this.lost = true;
      request.abort();
    };
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(cut, SILENCE);
    };
    this.lost = false;
    addEventListener("offline", cut, { once: true });
    const done = new Promise((resolve, reject) => {
      request.open("PATCH", address(`files/uploads/${this.id}`));
      request.setRequestHeader("Authorization", `Bearer ${access}`);
      request.setRequestHeader("Tus-Resumable", TUS["Tus-Resumable"]);
      request.setRequestHeader("Upload-Offset", String(offset));
      request.setRequestHeader("Content-Type", "application/offset+octet-stream");
      request.upload.onprogress = (event) => {
        heard();
        this.sent = Math.min(offset + event.loaded, this.file.size);
        if (this.state === "sending") this.changed(this);
      };
      request.upload.onload = () => {
        clearTimeout(silence); // looking at a long video takes a while
        if (this.state === "sending") this.become("checking");
      };
      request.onload = () => {
        let body = null;
        try {
          body = JSON.parse(request.responseText);
        } catch {
          body = null; // 204, or a proxy's page
        }
        const told = request.getResponseHeader("Upload-Offset");
        const headers = told === null ? {} : { "upload-offset": told };
        resolve({ status: request.status, headers, detail: body?.detail ?? request.statusText });
      };
      request.onerror = () => reject(new TypeError("the connection was cut"));
      request.onabort = () => reject(this.lost ? new TypeError("no byte went out") : new DOMException("", "AbortError"));
      heard();
      request.send(this.file.slice(offset));
    });
    return done.finally(() => {
      clearTimeout(silence);
      removeEventListener("offline", cut);
    });
  }
}
