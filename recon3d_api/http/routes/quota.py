"""What the caller uses, and may use."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from recon3d_api import schemas
from recon3d_api.http.dependencies import ServiceDep, UserDep, answers, throttle
from recon3d_api.http.routing import Route

router = APIRouter(
    route_class=Route, prefix="/auth", tags=["auth"], dependencies=[Depends(throttle("general"))]
)


@router.get("/quota", responses=answers(401))
def quota(user: UserDep, service: ServiceDep) -> schemas.Quota:
    """Get what the caller uses, and may use: disk, projects, waiting runs, uploads in progress."""
    return service.quotas.use(user.id)
