"""The page that a reset link opens."""

from __future__ import annotations

import base64
import hashlib

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_SCRIPT = """
const form = document.querySelector("form"), said = document.querySelector("output");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = location.hash.slice(1), new_password = form.elements.password.value;
  const answer = await fetch("api/v1/auth/password/reset", {
    method: "POST", headers: {"Content-Type": "application/json"},
    body: JSON.stringify({token, new_password}),
  }).catch(() => null);
  const body = answer && await answer.json().catch(() => null);
  said.textContent = body ? body.message || body.detail : "The service does not answer. Try again.";
  if (answer && answer.ok) { form.hidden = true; history.replaceState(null, "", location.pathname); }
});
"""
_PAGE = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Reset your password</title>
<h1>Reset your password</h1>
<form><label>New password, at least 8 characters
<input name="password" type="password" autocomplete="new-password" minlength="8" maxlength="128" required>
</label> <button>Set password</button></form>
<p><output></output></p>
<script>{_SCRIPT}</script></html>
"""
_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src 'sha256-{_DIGEST}'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@router.get("/reset-password")
async def reset_page() -> HTMLResponse:
    """Ask for the new password; the token stays in the address's fragment, which browsers do not send."""
    return HTMLResponse(_PAGE, headers=_HEADERS)
