"""Sessions: logins that are renewed by refresh tokens.

`POST /auth/token` answers as the contract shows it, with two fields. So a refresh token has a way in
of its own, and who does not ask for one does not get one to lose.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.security import OAuth2PasswordRequestForm

from recon3d_api import schemas
from recon3d_api.errors import unauthorized
from recon3d_api.http import sessions
from recon3d_api.http.dependencies import Service, ServiceDep, answers, client_address, throttle
from recon3d_api.http.login import log_in

router = APIRouter(prefix="/auth", tags=["auth"], dependencies=[Depends(throttle("general"))])


@router.post("/session", responses=answers(400, 401, 507))
async def begin_session(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request, service: ServiceDep
) -> schemas.Session:
    """Log in as with `POST /auth/token`, and get a refresh token too.

    The access token is good for 15 minutes at most, the refresh token for one exchange.
    """
    return await service.lanes.passwords.run(
        _begin, service, form.username, form.password, client_address(request)
    )


def _begin(service: Service, username: str, password: str, address: str) -> schemas.Session:
    user = log_in(service, username, password, address)
    return _answer(service, sessions.begin(service.database, user.id, service.settings.refresh_days))


@router.post("/refresh", responses=answers(401, 507))
def refresh_session(body: schemas.RefreshRequest, service: ServiceDep) -> schemas.Session:
    """Exchange a refresh token for a new pair.

    A refresh token that was used more than 30 seconds ago, or whose successor was used, ends the session
    with all its tokens: it was copied. Before that it gets the same refresh token again, in case the first
    answer was lost.
    """
    renewed = sessions.renew(
        service.database, service.tokens, body.refresh_token, service.settings.refresh_days
    )
    if renewed is None:
        raise unauthorized("The refresh token was used, has expired or was revoked; log in again")
    return _answer(service, renewed)


def _answer(service: Service, renewed: sessions.Renewed) -> schemas.Session:
    seconds = min(sessions.ACCESS_SECONDS, service.settings.token_minutes * 60)
    return schemas.Session(
        access_token=service.tokens.issue(renewed.user_id, number=renewed.id, seconds=seconds),
        expires_in=seconds,
        refresh_token=renewed.refresh_token,
        refresh_expires_in=service.settings.refresh_days * 86_400,
    )
