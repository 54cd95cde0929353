// Calls of the documented API (docs/reference/rest-api.md). Addresses are relative to the page's, so that
// the service may live behind a prefix.
import * as session from "./session.js";
import { has, t } from "./strings.js";

const BASE = new URL("api/v1/", document.baseURI);
const TRIES = 4;
// The service's default limit is 10 requests in any second for each user. It counts a request some time
// between when it is sent and when it is answered, so one takes its place until a second after the answer.
const PLACES = 8;
// It is counted long before: what is never answered, or works for long, must not keep others from being sent.
const LONGEST = 10_000;
// Thumbnails may be slow to draw: they leave places for what a person waits for.
const PLACES_LATER = 6;

export class ApiError extends Error {
  constructor(status, detail, headers) {
    super(detail);
    this.status = status;
    this.detail = detail;
    this.headers = headers;
  }
}

export const address = (path) => new URL(path, BASE).href;

export const page = (path) => new URL(path.replace(/^\//, ""), document.baseURI).href;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let signedOut = () => {};

export function whenSignedOut(handler) {
  signedOut = handler;
}

// What one user began is given up when another one comes, or nobody: the next user must not send it.
let visit = new AbortController();

export function endVisit() {
  visit.abort();
  visit = new AbortController();
}

// Who is signed in may have changed before the page hears of it: another tab did it.
function check(owner) {
  if (session.owner() !== owner) throw new DOMException("another user is signed in", "AbortError");
}

// Requests that wait for their turn: what a person waits for goes before thumbnails.
const waiting = { now: [], later: [] };
let taken = 0;

function letGo() {
  while (waiting.now.length && taken < PLACES) begin(waiting.now);
  while (waiting.later.length && taken < PLACES_LATER) begin(waiting.later);
}

function begin(queue) {
  taken += 1;
  queue.shift()();
}

async function inTurn(queue, url, options) {
  const { signal } = options;
  await new Promise((resolve, reject) => {
    const leave = () => {
      const place = waiting[queue].indexOf(turn);
      if (place >= 0) waiting[queue].splice(place, 1);
      reject(signal.reason);
    };
    const turn = () => {
      signal?.removeEventListener("abort", leave);
      resolve();
    };
    signal?.throwIfAborted();
    signal?.addEventListener("abort", leave);
    waiting[queue].push(turn);
    letGo();
  });
  const free = once(() => {
    taken -= 1;
    letGo();
  });
  setTimeout(free, LONGEST);
  try {
    return await fetch(url, options);
  } finally {
    setTimeout(free, 1001);
  }
}

function once(work) {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}

// `owner` is who was signed in when the work began that needs it.
export async function token(owner = session.owner()) {
  check(owner);
  const known = session.read();
  if (!known) return "";
  const access = session.isOld(known) ? await renew(owner) : known.access;
  check(owner);
  return access;
}

function renew(owner) {
  return session.alone(async () => {
    check(owner);
    const known = session.read();
    if (!known?.refresh) return "";
    if (!session.isOld(known)) return known.access; // another tab did it
    const answer = await inTurn("now", address("auth/refresh"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ refresh_token: known.refresh }),
    });
    if (answer.status === 401) return "";
    if (!answer.ok) throw await problem(answer);
    const renewed = await answer.json();
    const access = renewed.access_token;
    // The session that was renewed is not this browser's any more: it ends, and takes no other's place.
    if (!session.all().some(({ refresh }) => refresh === known.refresh)) {
      revoke({ access });
      check(owner);
      return session.read()?.access ?? "";
    }
    session.write(renewed, true);
    return access;
  });
}

async function problem(answer) {
  const body = await answer.json().catch(() => null);
  const detail = body?.errors ? fieldErrors(body.errors) : body?.detail;
  return new ApiError(answer.status, detail ?? answer.statusText, answer.headers);
}

// `detail` of a 422 names fields as programs do.
function fieldErrors(errors) {
  const said = errors.map(({ loc, msg }) => {
    const name = `field_${loc.at(-1)}`;
    const text = msg.replace(/^Value error, /, "").replace(/\.?$/, ".");
    return has(name) ? t("fieldError", { field: t(name), text }) : text;
  });
  return said.join(" ");
}

// Gives the answer of fetch; throws an ApiError with the API's reason, or TypeError without a connection.
// `access` is the token of a session that is not the one in use; `open` needs none.
export async function call(method, path, options = {}) {
  const { json, form, headers = {}, queue = "now" } = options;
  const open = options.open || options.access !== undefined;
  const owner = session.owner();
  const signal = open ? options.signal : AbortSignal.any([visit.signal, options.signal].filter(Boolean));
  for (let tries = 1; ; tries += 1) {
    const access = open ? options.access : await token(owner);
    if (!open && !access) {
      signedOut();
      throw new ApiError(401, "");
    }
    const answer = await inTurn(queue, address(path), {
      method,
      signal,
      headers: {
        ...(access && { Authorization: `Bearer ${access}` }),
        ...(json && { "Content-Type": "application/json" }),
        ...headers,
      },
      body: json ? JSON.stringify(json) : form && new URLSearchParams(form),
    });
    if (!open) check(owner);
    if (answer.ok) return answer;
    const after = Number(answer.headers.get("Retry-After"));
    if (answer.status === 429 && tries < TRIES && after <= 5) {
      await sleep(1000 * Math.max(after, 0.5));
      continue;
    }
    if (answer.status === 401 && !open) {
      // Another tab may have signed in again meanwhile, or the token's time was over before its turn came.
      const known = session.read();
      if (known && (known.access !== access || session.isOld(known)) && tries < TRIES) continue;
      signedOut();
    }
    const failure = await problem(answer);
    if (!open) check(owner);
    throw failure;
  }
}

export const get = async (path, options) => (await call("GET", path, options)).json();

export const post = async (path, json, options) => (await call("POST", path, { json, ...options })).json();

export const remove = async (path) => (await call("DELETE", path)).json();

// The new session replaces those of this browser: they end at the service, too.
export async function signIn(username, password, kept) {
  const path = kept ? "auth/session" : "auth/token";
  const answer = await (await call("POST", path, { form: { username, password }, open: true })).json();
  await session.alone(() => {
    const replaced = session.all();
    session.write(answer, kept);
    replaced.forEach(revoke); // not waited for: the page is the new user's already
  });
}

// Ends all sessions of this browser: another user's kept one must not follow.
export async function signOut(everywhere = false) {
  await call("POST", `auth/logout?everywhere=${everywhere}`);
  const mine = session.read();
  session.forget((known) => known.access === mine?.access);
  const others = session.all();
  session.forget(() => true);
  await Promise.all(others.map(revoke));
}

async function revoke(known) {
  try {
    let { access } = known;
    if (session.isOld(known)) {
      const renewed = await post("auth/refresh", { refresh_token: known.refresh }, { open: true });
      access = renewed.access_token;
    }
    await call("POST", "auth/logout", { access });
  } catch {
    // It has ended already, or the service is away: then it ends when its time is over.
  }
}

// A picture as an address that an <img> shows; ends with the view.
export async function picture(path, signal) {
  const answer = await call("GET", path, { queue: "later", signal });
  const url = URL.createObjectURL(await answer.blob());
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  return url;
}

// The path of a project's file, as the list names it.
export const file = (projectId, path) =>
  `files/${projectId}/${path.split("/").map(encodeURIComponent).join("/")}`;

// An address that needs no header: for a download or a frame, good once and for half a minute.
export async function ticketed(path, projectId, purpose) {
  const { ticket } = await post("auth/ticket", { project_id: projectId, purpose });
  return `${address(path)}?ticket=${encodeURIComponent(ticket)}`;
}

let service = null;

// What this service allows; asked once.
export async function about() {
  service ??= get("about", { open: true });
  return service.catch((error) => {
    service = null;
    throw error;
  });
}
