"""What administrators may do: see users and the audit log, disable and enable users."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy import select

from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.http import accounts
from recon3d_api.http.dependencies import AdminDep, Service, ServiceDep, answers, throttle
from recon3d_api.store import audit
from recon3d_api.store import tables as models

router = APIRouter(prefix="/admin", tags=["admin"], dependencies=[Depends(throttle("general"))])
UserId = Annotated[int, Path(ge=1, le=schemas.MAX_ID, examples=[1])]


@router.get("/users", responses=answers(401, 403))
def list_users(
    admin: AdminDep,
    service: ServiceDep,
    skip: Annotated[int, Query(ge=0, le=schemas.MAX_ID, description="Users to skip")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Users to return at most")] = 100,
) -> list[schemas.AdminUser]:
    """List all users, oldest first."""
    with service.database.read() as session:
        rows = session.scalars(select(models.User).order_by(models.User.id).offset(skip).limit(limit))
        return [schemas.AdminUser.model_validate(row) for row in rows]


@router.post("/users/{user_id}/disable", responses=answers(400, 401, 403, 404, 507))
def disable_user(user_id: UserId, admin: AdminDep, service: ServiceDep) -> schemas.AdminUser:
    """Disable a user: tokens, sessions and tickets are revoked, API keys refused, runs go on."""
    if user_id == admin.id:
        raise ApiError(400, "You cannot disable your own account; `recon3d-api user disable` can")
    return _set_active(service, admin, user_id, False)


@router.post("/users/{user_id}/enable", responses=answers(401, 403, 404, 507))
def enable_user(user_id: UserId, admin: AdminDep, service: ServiceDep) -> schemas.AdminUser:
    """Let a disabled user log in again; API keys are good again, tokens are not."""
    return _set_active(service, admin, user_id, True)


def _set_active(service: Service, admin: models.User, user_id: int, active: bool) -> schemas.AdminUser:
    with service.database.write() as session:
        user = session.get(models.User, user_id, with_for_update=True)
        if user is None:
            raise not_found("User")
        accounts.set_active(session, user, active)
        action: audit.Action = "user.enabled" if active else "user.disabled"
        audit.record(session, action, user=admin, target=f"user {user.username}")
        return schemas.AdminUser.model_validate(user)


@router.get("/audit", responses=answers(401, 403))
def read_audit(
    admin: AdminDep,
    service: ServiceDep,
    username: Annotated[str, Query(max_length=64, pattern=r"^[^\x00]*$", description="Of this user")] = "",
    action: Annotated[
        str, Query(pattern=r"^[a-z_.]{0,40}$", description="As in `login` or `login.failed`")
    ] = "",
    before: Annotated[
        int | None, Query(ge=1, le=schemas.MAX_ID, description="Entries before this id, for the next page")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="Entries to return at most")] = 100,
) -> list[schemas.AuditEntry]:
    """Read the audit log, newest first."""
    wanted = audit.entries(username=username, action=action, before=before).limit(limit)
    with service.database.read() as session:
        return [schemas.AuditEntry.model_validate(row) for row in session.scalars(wanted)]
