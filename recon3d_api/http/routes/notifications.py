"""What the caller wants to be told by mail."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from recon3d_api import schemas
from recon3d_api.http.dependencies import ServiceDep, SessionUserDep, UserDep, answers, throttle
from recon3d_api.store import tables as models

router = APIRouter(prefix="/auth/notifications", tags=["auth"], dependencies=[Depends(throttle("general"))])


@router.get("", responses=answers(401))
def read_notifications(user: UserDep, service: ServiceDep) -> schemas.Notifications:
    """Tell what mail the caller gets, and whether the service sends any."""
    return schemas.Notifications(run_ended=user.mail_runs, available=service.mailer.enabled)


@router.put("", responses=answers(401, 403, 507))
def change_notifications(
    body: schemas.NotificationsChange, user: SessionUserDep, service: ServiceDep
) -> schemas.Notifications:
    """Turn mail about completed and failed runs on or off; an API key cannot."""
    with service.database.write() as session:
        session.get_one(models.User, user.id).mail_runs = body.run_ended
    return schemas.Notifications(run_ended=body.run_ended, available=service.mailer.enabled)
