// The frame around the views: which one is shown, the header, and what happens when a session ends.
import { about, signOut, whenSignedOut } from "./api.js";
import { account } from "./account.js";
import { attempt, button, el, notice, replace, told } from "./dom.js";
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

const path = () => location.hash.slice(1).split("?")[0] || "/";

// What goes on while other views are shown must not go on as another user.
function end() {
  endUploads();
  keepAll();
}

async function show() {
  if (session.read() === null) end();
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
  const page = { main, signal, done: () => go(wanted), go };
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
  const heading = main.querySelector("h1");
  document.title = heading ? `${heading.textContent} – ${t("brand")}` : t("brand");
  // Screen readers begin where the new view begins.
  heading?.setAttribute("tabindex", "-1");
  if (moved) heading?.focus({ preventScroll: true });
}

let moved = false;

function go(to) {
  wanted = "/";
  if (path() === to) show();
  else location.hash = to;
}

function lost({ main: place }) {
  replace(
    place,
    el("h1", { text: t("notHere") }),
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
      end();
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
  if (session.read()) notice(t("expired"));
  session.forget();
  show();
});
session.watch(show);
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
