// A project's events over the WebSocket; connects again by itself and misses nothing.
import { get, token } from "./api.js";
import { owner } from "./session.js";

const LONGEST = 15_000;
// The service is heard of every 15 to 30 s.
const SILENCE = 40_000;

export function follow(projectId, told, signal) {
  const mine = owner();
  let seq = null;
  let failures = 0;
  let socket = null;
  let timer = 0;
  let tries = 0;

  const address = () => {
    const url = new URL(`ws/jobs/${projectId}`, document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    if (seq !== null) url.searchParams.set("after", seq);
    return url;
  };

  const listen = () => {
    clearTimeout(timer);
    timer = setTimeout(() => socket?.close(), SILENCE);
  };

  const connect = async () => {
    const own = (tries += 1);
    let access = "";
    try {
      access = await token(mine);
    } catch {
      access = ""; // no connection: try again below
    }
    if (signal.aborted || own !== tries) return;
    if (!access) {
      again();
      return;
    }
    // As a subprotocol: tokens do not belong into addresses, which are logged.
    socket = new WebSocket(address(), ["bearer", access]);
    socket.onopen = listen;
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      failures = 0;
      listen();
      if (typeof message.seq === "number") seq = message.seq;
      told(message);
    };
    socket.onclose = (event) => {
      socket = null;
      clearTimeout(timer);
      if (signal.aborted) return;
      if (event.code === 4404) {
        told({ event: "gone" });
        return;
      }
      // A refused token: the next call finds out whether somebody has to sign in again.
      if (event.code === 4401) get("auth/me").catch(() => {});
      again();
    };
  };

  // Browsers notice a dead connection after a while; the device knows at once.
  const cut = () => {
    if (!socket) return;
    const dead = socket;
    socket = null;
    dead.onclose = dead.onmessage = null;
    dead.close();
    clearTimeout(timer);
    again();
  };
  const back = () => {
    if (socket) return;
    clearTimeout(timer);
    failures = 0;
    connect();
  };

  const again = () => {
    failures += 1;
    told({ event: "lost" });
    timer = setTimeout(connect, Math.min(500 * 2 ** failures, LONGEST));
  };

  addEventListener("offline", cut, { signal });
  addEventListener("online", back, { signal });
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    socket?.close();
  });
  connect();
}
