// The ways in: signing in, creating an account, asking for a new password.
import * as api from "./api.js";
import { check, el, field, form, replace } from "./dom.js";
import { t } from "./strings.js";

const link = (to, key) => el("p", {}, el("a", { href: `#${to}`, text: t(key) }));

function show(main, title, lead, ...content) {
  replace(
    main,
    el("section", { class: "entry" }, el("h1", { text: t(title) }), el("p", { text: t(lead) }), ...content),
  );
}

export async function signIn({ main, done }) {
  const name = field(t("usernameOrEmail"), { autocomplete: "username", required: true, name: "username" });
  const password = field(t("password"), {
    type: "password",
    autocomplete: "current-password",
    required: true,
    name: "password",
  });
  const keep = check(t("keep"), { name: "keep" }, t("keepHint"));
  const send = form([name, password, keep], t("signIn"), async () => {
    await api.signIn(name.input.value, password.input.value, keep.input.checked);
    done();
  });
  show(main, "signIn", "signInLead", send, link("/signup", "noAccount"), link("/forgot", "forgot"));
}

export async function signUp({ main, go, signal }) {
  const { registration } = await api.about();
  if (signal.aborted) return;
  if (registration === "closed") {
    show(main, "signUp", "registrationClosed", link("/signin", "haveAccount"));
    return;
  }
  const invited = registration === "invitation";
  const code = field(
    t("invitation"),
    { required: true, autocomplete: "off", value: new URLSearchParams(location.hash.split("?")[1]).get("code") },
    t("invitationHint"),
  );
  const name = field(
    t("username"),
    { autocomplete: "username", required: true, pattern: "[A-Za-z0-9_.\\-]{3,50}", title: t("usernameHint"), name: "username" },
    t("usernameHint"),
  );
  const email = field(t("email"), { type: "email", autocomplete: "email", required: true, name: "email" });
  const password = field(
    t("password"),
    {
      type: "password",
      autocomplete: "new-password",
      required: true,
      minlength: 8,
      maxlength: 128,
      name: "password",
    },
    t("passwordHint"),
  );
  const keep = check(t("keep"), { name: "keep" }, t("keepHint"));
  const fields = [invited && code, name, email, password, keep].filter(Boolean);
  const send = form(fields, t("signUp"), async () => {
    const body = { username: name.input.value, email: email.input.value, password: password.input.value };
    if (invited) body.invitation = code.input.value.trim();
    await api.post("auth/register", body, { open: true });
    await api.signIn(body.username, body.password, keep.input.checked);
    go("/");
  });
  show(main, "signUp", "signUpLead", send, link("/signin", "haveAccount"));
}

export async function forgot({ main, signal }) {
  const { mail } = await api.about();
  if (signal.aborted) return;
  if (!mail) {
    show(main, "forgotTitle", "forgotNoMail", link("/signin", "signIn"));
    return;
  }
  const email = field(t("email"), { type: "email", autocomplete: "email", required: true });
  const said = el("p", { role: "status" });
  const send = form([email], t("sendLink"), async () => {
    const answer = await api.post("auth/password/forgot", { email: email.input.value }, { open: true });
    said.textContent = answer.message;
    send.hidden = true;
  });
  show(main, "forgotTitle", "forgotLead", send, said, link("/signin", "signIn"));
}
