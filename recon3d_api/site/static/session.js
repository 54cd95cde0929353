// Who is signed in. Kept: a refresh token in localStorage, which all tabs share and take turns to exchange,
// because each is good once. Not kept: an access token in sessionStorage, which ends with the tab. A copied
// tab copies its sessionStorage, so no refresh token is put there.
const KEY = "recon3d.session";
const LOCK = "recon3d.refresh";
const EARLY = 30_000;

export function read() {
  for (const store of [sessionStorage, localStorage]) {
    const text = store.getItem(KEY);
    try {
      if (text) return JSON.parse(text);
    } catch {
      store.removeItem(KEY); // nobody can use it
    }
  }
  return null;
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

export function forget() {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
}

export const isOld = (known) => known.expires !== undefined && known.expires < Date.now() + EARLY;

// One tab at a time; without TLS browsers have no locks, and then the tabs of one browser are on their own.
export function alone(work) {
  return navigator.locks ? navigator.locks.request(LOCK, work) : work();
}

// Another tab signed in or out.
export function watch(changed) {
  addEventListener("storage", (event) => {
    if (event.key === KEY && Boolean(event.oldValue) !== Boolean(event.newValue)) changed();
  });
}
