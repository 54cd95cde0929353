// The frame around the views: which one is shown, the header, and what happens when a session ends.
import { about, endVisit, signOut, whenSignedOut } from "./api.js";
import { account } from "./account.js";
import { attempt, button, el, endNotices, notice, replace, told } from "./dom.js";
import { forgot, signIn, signUp } from "./entry.js";
import { project } from "./project.js";
import { projects } from "./projects.js";
import { keepAll } from "./removal.js";
import * as session from "./session.js";
import { t } from "./strings.js";
import { endUploads } from "./uploads.js";

const main = document.getElementById("main");
const top = document.getElementById("top");
// Views that need no account.
const OPEN = { "/signin": signIn, "/signup": signUp, "/forgot": forgot };
const CLOSED = [
  [/^\/$/, projects],
  [/^\/projects\/(\d+)$/, project],
  [/^\/account$/, account],
];

let current = new AbortController();
let wanted = "/";
let user = "";
// Who was signed in last.
let last = "";

const path = () => location.hash.slice(1).split("?")[0] || "/";

// What goes on while other views are shown must not go on as another user. Tells whether there is one.
function handOver() {
  const now = session.owner();
  if (now === user) return false;
  user = now;
  endVisit();
  endUploads();
  keepAll();
  if (!now) return true;
  // What was shown and wanted is the business of the one before; a first user goes where a link leads.
  if (last && last !== now) {
    endNotices();
    wanted = "/";
    if (path().startsWith("/projects/")) history.replaceState(null, "", "#/");
  }
  last = now;
  return true;
}

async function show() {
  handOver();
  current.abort();
  current = new AbortController();
  const { signal } = current;
  const asked = path();
  const known = session.read() !== null;
  header(known);
  let view = OPEN[asked];
  let parts = [];
  if (!view && !known) {
    wanted = asked;
    view = signIn;
  } else if (!view) {
    const found = CLOSED.map(([pattern, made]) => [asked.match(pattern), made]).find(([match]) => match);
    view = found ? found[1] : lost;
    parts = found ? found[0].slice(1) : [];
  }
  // What the view shows has ceased to be.
  const gone = () => {
    current.abort();
    lost(page, "projectGone");
    titled()?.focus({ preventScroll: true });
  };
  const page = { main, signal, done, go, gone };
  try {
    await view(page, ...parts);
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    if (error.status === 401) return;
    replace(
      main,
      el("h1", { text: t("brand"), tabindex: "-1" }),
      el("p", { class: "error", role: "alert", text: told(error) }),
      el("p", {}, button(t("again"), show), " ", el("a", { href: "#/", text: t("toProjects") })),
    );
  }
  if (signal.aborted) return;
  const heading = titled();
  if (moved) heading?.focus({ preventScroll: true });
}

// Names the page after its heading, where screen readers begin to read a new view.
function titled() {
  const heading = main.querySelector("h1");
  document.title = heading ? `${heading.textContent} – ${t("brand")}` : t("brand");
  heading?.setAttribute("tabindex", "-1");
  return heading;
}

let moved = false;

function go(to) {
  handOver();
  wanted = "/";
  if (path() === to) show();
  else location.hash = to;
}

// Somebody has signed in.
function done() {
  handOver();
  go(wanted);
}

function lost({ main: place }, key = "notHere") {
  replace(
    place,
    el("h1", { text: t(key) }),
    el("p", {}, el("a", { href: "#/", text: t("toProjects") })),
  );
}

function header(known) {
  const here = path();
  const link = (to, key) =>
    el("a", { href: `#${to}`, text: t(key), "aria-current": here === to ? "page" : null });
  const leave = () =>
    attempt(async () => {
      await signOut();
      notice(t("signedOut"));
      go("/");
    });
  replace(
    top,
    el("a", { class: "brand", href: "#/" }, el("img", { src: "site/icon.svg", alt: "" }), el("span", { text: t("brand") })),
    known &&
      el(
        "nav",
        { "aria-label": t("brand") },
        link("/", "projects"),
        link("/account", "account"),
        button(t("signOut"), leave, { class: "quiet" }),
      ),
  );
}

whenSignedOut(() => {
  const ended = session.read();
  session.forget((known) => known.access === ended?.access);
  handOver();
  if (ended) notice(t("expired")); // to who is there now, even if that is another user
  show();
});
session.watch(() => handOver() && show());
addEventListener("hashchange", () => {
  moved = true;
  scrollTo(0, 0);
  show();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment names the view
  main.focus();
});
about().catch(() => {}); // asked early; whoever needs it says when it fails
show();
