"""Links that share a project's model: the owner's side."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from sqlalchemy import func, select

from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.http.dependencies import ProjectId, ServiceDep, UserDep, answers, own_project, throttle
from recon3d_api.store import audit, shares
from recon3d_api.store.tables import Share, utcnow

router = APIRouter(
    prefix="/projects/{project_id}/shares", tags=["sharing"], dependencies=[Depends(throttle("general"))]
)


@router.post("", status_code=201, responses=answers(400, 401, 404, 507))
def create_share(
    project_id: ProjectId, body: schemas.ShareCreate, user: UserDep, service: ServiceDep
) -> schemas.ShareCreated:
    """Make a link that shows the project's model without an account.

    The answer holds the link's token, which cannot be read again. The link ends when it expires, is
    revoked, or its project is archived or deleted.
    """
    if body.expires_at is not None and body.expires_at <= utcnow():
        raise ApiError(400, "expires_at is over already")
    with service.database.write() as session:
        project = own_project(session, user, project_id, lock=True)
        if project.status == "archived":
            raise ApiError(400, "The project is archived; set its status back first")
        held = session.scalar(select(func.count()).where(Share.project_id == project_id)) or 0
        if held >= shares.MOST:
            raise ApiError(400, f"The project has {held} links; revoke some first")
        share, token = shares.new_share(
            project_id, name=body.name, download=body.download, expires_at=body.expires_at
        )
        session.add(share)
        session.flush()
        audit.record(session, "share.created", user=user, target=f"share {share.id} of project {project_id}")
        known = schemas.Share.model_validate(share).model_dump()
    return schemas.ShareCreated(**known, token=token, path=f"/share/{token}")


@router.get("", responses=answers(401, 404))
def list_shares(project_id: ProjectId, user: UserDep, service: ServiceDep) -> list[schemas.Share]:
    """List the project's links, newest first, also those that have expired."""
    with service.database.read() as session:
        own_project(session, user, project_id)
        rows = session.scalars(select(Share).where(Share.project_id == project_id).order_by(Share.id.desc()))
        return [schemas.Share.model_validate(row) for row in rows]


@router.delete("/{share_id}", responses=answers(401, 404, 507))
def revoke_share(
    project_id: ProjectId,
    share_id: Annotated[int, Path(ge=1, le=schemas.MAX_ID, examples=[1])],
    user: UserDep,
    service: ServiceDep,
) -> schemas.Message:
    """Revoke a link: nothing is shown from now on."""
    with service.database.write() as session:
        own_project(session, user, project_id)
        share = session.get(Share, share_id)
        if share is None or share.project_id != project_id:
            raise not_found("Share")
        session.delete(share)
        audit.record(session, "share.revoked", user=user, target=f"share {share_id} of project {project_id}")
    return schemas.Message(message="The link is revoked")
