"""API keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from sqlalchemy import func, select

from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.http import keys
from recon3d_api.http.dependencies import ServiceDep, UserDep, answers, throttle
from recon3d_api.store import audit
from recon3d_api.store import tables as models

router = APIRouter(prefix="/auth/keys", tags=["auth"], dependencies=[Depends(throttle("general"))])


@router.get("", responses=answers(401))
def list_keys(user: UserDep, service: ServiceDep) -> list[schemas.ApiKey]:
    """List the caller's API keys, newest first; the keys themselves are not kept."""
    with service.database.read() as session:
        rows = session.scalars(
            select(models.ApiKey).where(models.ApiKey.user_id == user.id).order_by(models.ApiKey.id.desc())
        )
        return [schemas.ApiKey.model_validate(row) for row in rows]


@router.post("", status_code=201, responses=answers(400, 401, 507))
def create_key(body: schemas.ApiKeyCreate, user: UserDep, service: ServiceDep) -> schemas.NewApiKey:
    """Make an API key. It is shown in this answer only, and is good wherever a token is."""
    if body.expires_at is not None and body.expires_at <= models.utcnow():
        raise ApiError(400, "expires_at lies in the past")
    with service.database.write() as session:
        count = select(func.count()).select_from(models.ApiKey).where(models.ApiKey.user_id == user.id)
        if (session.scalar(count) or 0) >= keys.MOST_KEYS:
            raise ApiError(400, f"You have {keys.MOST_KEYS} keys; revoke one that you do not use")
        row, key = keys.create(session, user, body.name, body.expires_at)
        audit.record(session, "key.created", user=user, target=f"key {row.id} {row.name}")
    return schemas.NewApiKey(**schemas.ApiKey.model_validate(row).model_dump(), key=key)


@router.delete("/{key_id}", responses=answers(401, 404, 507))
def revoke_key(
    key_id: Annotated[int, Path(ge=1, le=schemas.MAX_ID, examples=[1])], user: UserDep, service: ServiceDep
) -> schemas.Message:
    """Revoke an API key at once; WebSockets that it opened end within 15 seconds."""
    with service.database.write() as session:
        row = session.get(models.ApiKey, key_id)
        if row is None or row.user_id != user.id:
            raise not_found("API key")
        audit.record(session, "key.revoked", user=user, target=f"key {row.id} {row.name}")
        keys.revoke(session, row)
    return schemas.Message(message="API key revoked")
