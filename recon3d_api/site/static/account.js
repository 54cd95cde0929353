// The account: what it uses, its password, its API keys and sessions.
import * as api from "./api.js";
import { attempt, button, check, copyBox, el, field, form, notice, replace } from "./dom.js";
import { forget, owner } from "./session.js";
import { bytes, moment, t } from "./strings.js";

export async function account({ main, signal, go }) {
  const [user, quota, mail] = await Promise.all([
    api.get("auth/me", { signal }),
    api.get("auth/quota", { signal }),
    api.get("auth/notifications", { signal }),
  ]);
  if (signal.aborted) return;
  replace(
    main,
    el("h1", { text: t("account") }),
    el("p", { text: t("accountOf", { name: user.username, email: user.email }) }),
    section("usage", usage(quota)),
    section("mail", runMail(mail)),
    section("changePassword", password(user, go)),
    section("keys", el("p", { text: t("keysLead") }), await keys(signal)),
    section("sessions", el("p", { text: t("sessionsLead") }), leave(go)),
  );
}

const section = (title, ...content) => el("section", {}, el("h2", { text: t(title) }), content.flat());

function usage(quota) {
  // Beside the limits there may be plain numbers.
  const limits = Object.entries(quota).filter(([, value]) => typeof value === "object");
  const rows = limits.map(([name, { used, limit }]) => {
    const shown = name === "disk_bytes" ? bytes : String;
    const text = limit === null ? shown(used) : t("usageOf", { used: shown(used), limit: shown(limit) });
    return [el("dt", { text: t(`usage_${name}`) }), el("dd", { text })];
  });
  return el("dl", {}, rows.flat());
}

function runMail({ run_ended: wanted, available }) {
  const box = check(
    t("mailRuns"),
    { checked: wanted, disabled: !available },
    available ? "" : t("noMail"),
  );
  const { input } = box;
  input.addEventListener("change", async () => {
    input.disabled = true;
    const json = { run_ended: input.checked };
    const saved = await attempt(() => api.call("PUT", "auth/notifications", { json }));
    if (saved) notice(t("saved"));
    else input.checked = !input.checked;
    input.disabled = false;
  });
  return box;
}

function password(user, go) {
  const type = "password";
  // Password managers want to know whose password it is.
  const name = el("input", { autocomplete: "username", value: user.username, readonly: true, hidden: true });
  const old = field(t("oldPassword"), { type, autocomplete: "current-password", required: true });
  const wanted = field(
    t("newPassword"),
    { type, autocomplete: "new-password", required: true, minlength: 8, maxlength: 128 },
    t("passwordHint"),
  );
  return [
    el("p", { text: t("changePasswordHint") }),
    form([name, old, wanted], t("change"), async () => {
      const body = { old_password: old.input.value, new_password: wanted.input.value };
      const { message } = await api.post("auth/password", body);
      forget((known) => owner(known) === String(user.id)); // the service ended them all
      notice(message);
      go("/");
    }),
  ];
}

async function keys(signal) {
  const list = el("ul", { class: "lines" });
  const made = el("div", { role: "status" });
  const name = field(t("keyName"), { required: true, maxlength: 200 });
  const create = form([name], t("createKey"), async () => {
    const { key } = await api.post("auth/keys", { name: name.input.value });
    replace(made, copyBox(t("key"), key), el("p", { text: t("keyOnce") }));
    create.reset();
    await load();
  });
  const load = async () => {
    const rows = await api.get("auth/keys", { signal });
    replace(
      list,
      ...rows.map((row) => {
        const used = row.last_used_at ? t("keyUsed", { date: moment(row.last_used_at) }) : t("keyUnused");
        const end = button(
          t("revoke"),
          () =>
            attempt(async () => {
              await api.remove(`auth/keys/${row.id}`);
              notice(t("revoked"));
              made.replaceChildren();
              await load();
            }),
          { class: "danger", "aria-label": t("revokeNamed", { name: row.name }) },
        );
        const text = `${t("keyLine", { name: row.name, prefix: row.start })}, ${used}`;
        return el("li", {}, el("span", { text }), end);
      }),
    );
  };
  await load();
  return [create, made, list];
}

function leave(go) {
  return button(t("signOutEverywhere"), () =>
    attempt(async () => {
      await api.signOut(true);
      notice(t("signedOut"));
      go("/");
    }),
  );
}
