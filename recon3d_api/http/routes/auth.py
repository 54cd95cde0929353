"""Accounts and tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.security import OAuth2PasswordRequestForm

from recon3d_api import schemas
from recon3d_api.errors import ApiError, unauthorized
from recon3d_api.http import access, accounts, invitations
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
from recon3d_api.http.login import log_in
from recon3d_api.http.multipart import field_error
from recon3d_api.http.routing import Route
from recon3d_api.store import tables as models

router = APIRouter(
    route_class=Route, prefix="/auth", tags=["auth"], dependencies=[Depends(throttle("general"))]
)


@router.post("/register", status_code=201, responses=answers(400, 403, 507))
async def register(body: schemas.Register, request: Request, service: ServiceDep) -> schemas.User:
    """Register a new user account.

    A username and an e-mail address are good for one account, however they are capitalized. 403
    means that the operator adds users or invites them.
    """
    user = await service.lanes.passwords.run(_register, service, body, client_address(request))
    return schemas.User.model_validate(user)


def _register(service: Service, body: schemas.Register, address: str) -> models.User:
    mode, who = service.settings.registration, f"register@{address}"
    if mode == "closed":
        raise ApiError(403, "Registration is closed. Ask the operator of this service for an account")
    service.limits.check_failures(who)
    try:
        return accounts.add_user(service.database, service.passwords, body, invited=mode == "invitation")
    except accounts.WeakPassword as error:
        raise field_error("password", str(error)) from error
    except accounts.AccountTaken as error:
        raise ApiError(400, str(error)) from error
    except invitations.BadInvitation as error:
        service.limits.count_failure(who)
        raise ApiError(403, str(error)) from error


@router.post("/token", responses=answers(400, 401))
async def token(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request, service: ServiceDep
) -> schemas.Token:
    """Log in with username or e-mail address, and get an access token.

    After ten failures in a minute, further tries for the same name from the same address are
    answered with 429.
    """
    user = await service.lanes.passwords.run(
        log_in, service, form.username, form.password, client_address(request)
    )
    return schemas.Token(access_token=service.tokens.issue(user.id))


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
