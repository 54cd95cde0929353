// Who is signed in. Kept: a refresh token in localStorage, which all tabs share and take turns to exchange,
// because a used one that comes again late ends the session. Not kept: an access token in sessionStorage, which ends with the tab. A copied
// tab copies its sessionStorage, so no refresh token is put there.
const KEY = "recon3d.session";
const LOCK = "recon3d.refresh";
const EARLY = 30_000;

const STORES = [sessionStorage, localStorage];

function from(store) {
  const text = store.getItem(KEY);
  try {
    return text && JSON.parse(text);
  } catch {
    store.removeItem(KEY); // nobody can use it
    return null;
  }
}

// The sessions that this tab can use, the one in use first. They may be of different users.
export const all = () => STORES.map(from).filter(Boolean);

export const read = () => all()[0] ?? null;

// Whose session it is, as its token tells; "" when nobody is signed in.
export function owner(known = read()) {
  try {
    const claims = known.access.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(claims)).sub;
  } catch {
    return ""; // a token that is none
  }
}

export function write(answer, kept) {
  const known = { access: answer.access_token };
  if (answer.refresh_token) {
    known.refresh = answer.refresh_token;
    known.expires = Date.now() + answer.expires_in * 1000;
  }
  // Replaced in one step: other tabs must not see a moment without a session.
  const [store, other] = kept ? [localStorage, sessionStorage] : [sessionStorage, localStorage];
  store.setItem(KEY, JSON.stringify(known));
  other.removeItem(KEY);
}

// Removes the sessions that `ended` picks. They must have ended at the service: what is only removed here
// stays valid there, and nobody can revoke it any more.
export function forget(ended) {
  for (const store of STORES) {
    const known = from(store);
    if (known && ended(known)) store.removeItem(KEY);
  }
}

export const isOld = (known) => known.expires !== undefined && known.expires < Date.now() + EARLY;

// One tab at a time; without TLS browsers have no locks, and then the tabs of one browser are on their own.
export function alone(work) {
  return navigator.locks ? navigator.locks.request(LOCK, work) : work();
}

// Another tab signed in or out, or renewed the session.
export function watch(changed) {
  addEventListener("storage", (event) => {
    if (event.key === KEY) changed();
  });
}
