"""Passwords: changed, forgotten, reset."""

from __future__ import annotations

import contextvars
import functools

from fastapi import APIRouter, Depends, Request

from recon3d_api import schemas
from recon3d_api.errors import ApiError
from recon3d_api.http import accounts, resets
from recon3d_api.http.dependencies import Service, ServiceDep, UserDep, answers, client_address, throttle
from recon3d_api.http.multipart import field_error
from recon3d_api.http.security import password_problem
from recon3d_api.store import audit
from recon3d_api.store import tables as models

router = APIRouter(prefix="/auth/password", tags=["auth"], dependencies=[Depends(throttle("general"))])


@router.post("", responses=answers(400, 401, 507))
async def change_password(
    body: schemas.PasswordChange, user: UserDep, service: ServiceDep
) -> schemas.Message:
    """Change the password; revokes all tokens, sessions and API keys of the caller.

    Log in again afterwards. Ten wrong old passwords in a minute are answered with 429.
    """
    await service.lanes.passwords.run(_change, service, user, body)
    return schemas.Message(message="Password changed; log in again")


def _change(service: Service, user: models.User, body: schemas.PasswordChange) -> None:
    who = f"password:{user.id}"
    service.limits.check_failures(who)
    if not service.passwords.verify(body.old_password, user.password_hash):
        service.limits.count_failure(who)
        audit.record_apart(service.database, "password.change_failed", user=user)
        raise ApiError(400, "The old password is wrong")
    if body.new_password == body.old_password:
        raise field_error("new_password", "The password must differ from the old one")
    if problem := password_problem(body.new_password, user.username, user.email):
        raise field_error("new_password", problem)
    hashed = service.passwords.hash(body.new_password)
    with service.database.write() as session:
        changed = session.get_one(models.User, user.id, with_for_update=True)
        if changed.password_hash != user.password_hash:  # reset or changed in the meantime
            raise ApiError(400, "The old password is wrong")
        accounts.set_password(session, changed, hashed)
        audit.record(session, "password.changed", user=changed)


@router.post("/forgot", status_code=202, responses=answers(400))
def forgot_password(body: schemas.PasswordForgot, request: Request, service: ServiceDep) -> schemas.Message:
    """Ask for a mail with a link to reset the password.

    The answer is the same whether or not there is such an account. 400 means that the service sends
    no mail; ask its operator for a link then.
    """
    if not service.mailer.enabled:
        raise ApiError(400, "This service sends no mail. Ask its operator for a link to reset the password")
    for who in (f"forgot@{client_address(request)}", f"forgot:{body.email.lower()}"):
        service.limits.check("login", who)
    # The mailer's thread looks for the account, so that the time of the answer does not tell either.
    make = functools.partial(resets.mail_for, service.database, service.settings, body.email)
    service.mailer.post(functools.partial(contextvars.copy_context().run, make))
    return schemas.Message(message="If there is such an account, a mail is on its way")


@router.post("/reset", responses=answers(400, 507))
async def reset_password(
    body: schemas.PasswordReset, request: Request, service: ServiceDep
) -> schemas.Message:
    """Set a new password with the token of a reset link, once.

    Revokes all tokens, sessions and API keys of the account.
    """
    await service.lanes.passwords.run(_reset, service, body, client_address(request))
    return schemas.Message(message="Password changed; log in with it")


def _reset(service: Service, body: schemas.PasswordReset, address: str) -> None:
    who = f"reset@{address}"
    service.limits.check_failures(who)
    try:
        done = resets.redeem(service.database, service.passwords, body.token, body.new_password)
    except accounts.WeakPassword as error:
        raise field_error("new_password", str(error)) from error
    if not done:
        service.limits.count_failure(who)
        audit.record_apart(service.database, "password.reset_failed")
        raise ApiError(400, "The link was used or has expired. Ask for another one")
