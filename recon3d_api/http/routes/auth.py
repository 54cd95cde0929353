"""Accounts and tokens."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy import select

from recon3d_api import schemas
from recon3d_api.errors import ApiError, unauthorized
from recon3d_api.http import access, accounts
from recon3d_api.http.dependencies import (
    Service,
    ServiceDep,
    TokenDep,
    UserDep,
    answers,
    client_address,
    own_project,
    throttle,
    ticket_target,
)
from recon3d_api.http.multipart import field_error
from recon3d_api.http.routing import Route
from recon3d_api.store import tables as models

logger = logging.getLogger("recon3d_api.auth")

router = APIRouter(
    route_class=Route, prefix="/auth", tags=["auth"], dependencies=[Depends(throttle("general"))]
)


@router.post("/register", status_code=201, responses=answers(400, 507))
async def register(body: schemas.Register, service: ServiceDep) -> schemas.User:
    """Register a new user account.

    A username and an e-mail address are good for one account, however they are capitalized.
    """
    try:
        user = await service.lanes.passwords.run(accounts.add_user, service.database, service.passwords, body)
    except accounts.WeakPassword as error:
        raise field_error("password", str(error)) from error
    except accounts.AccountTaken as error:
        raise ApiError(400, str(error)) from error
    return schemas.User.model_validate(user)


@router.post("/token", responses=answers(400, 401))
async def token(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request, service: ServiceDep
) -> schemas.Token:
    """Log in, and get an access token.

    After ten failures in a minute, further tries for the same name from the same address are
    answered with 429.
    """
    address = client_address(request)
    made = await service.lanes.passwords.run(_log_in, service, form.username, form.password, address)
    return schemas.Token(access_token=made)


def _log_in(service: Service, username: str, password: str, address: str) -> str:
    name = username.strip().lower()
    who = f"{name[:64]}@{address}"
    service.limits.check_failures(who)
    user = None
    if name.isascii() and name.isprintable():
        with service.database.read() as session:
            user = session.scalar(select(models.User).where(models.User.username_key == name))
    # The same work and the same answer whether or not there is such a user.
    right = service.passwords.verify(
        password.encode("utf-8", "replace").decode(), user.password_hash if user else None
    )
    if user is None or not right or not user.is_active:
        service.limits.count_failure(who)
        logger.warning("Login refused", extra={"username": name[:64], "address": address})
        raise unauthorized("Incorrect username or password")
    return service.tokens.issue(user.id)


@router.get("/me", responses=answers(401))
def me(user: UserDep) -> schemas.User:
    """Get the current user."""
    return schemas.User.model_validate(user)


@router.post("/logout", responses=answers(401, 507))
def logout(
    user: UserDep,
    token: TokenDep,
    service: ServiceDep,
    everywhere: Annotated[bool, Query(description="Revoke all of the caller's tokens")] = False,
) -> schemas.Message:
    """Revoke the token that the request is made with; open WebSockets end within 15 seconds."""
    if token is not None:
        access.revoke(service.database, token, everywhere=everywhere)
    return schemas.Message(message="Logged out everywhere" if everywhere else "Logged out")


@router.post("/ticket", responses=answers(401, 404, 507))
def ticket(
    body: schemas.TicketRequest, user: UserDep, token: TokenDep, service: ServiceDep
) -> schemas.Ticket:
    """Get a ticket for one WebSocket or one download, to be put into an address as `?ticket=`.

    It is good for 30 seconds and one use. Tokens do not belong into addresses, which are logged.
    """
    if token is None:
        raise unauthorized()
    with service.database.read() as session:
        own_project(session, user, body.project_id)
    target = ticket_target(body.project_id, body.purpose)
    made = access.issue_ticket(service.database, token, target)
    return schemas.Ticket(ticket=made, expires_in=access.TICKET_SECONDS)
