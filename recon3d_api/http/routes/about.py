"""What a client has to know before anybody logs in."""

from __future__ import annotations

from fastapi import APIRouter, Depends

import recon3d
from recon3d_api import schemas
from recon3d_api.files import names
from recon3d_api.http.dependencies import ServiceDep, answers, throttle

router = APIRouter(prefix="/about", tags=["operations"], dependencies=[Depends(throttle("general"))])


@router.get("", responses=answers())
async def about(service: ServiceDep) -> schemas.About:
    """Tell who may register, whether the service sends mail, and which files it takes."""
    settings = service.settings
    return schemas.About(
        version=recon3d.__version__,
        registration=settings.registration,
        mail=service.mailer.enabled,
        max_upload_bytes=settings.max_upload_bytes,
        video_formats=[suffix[1:].upper() for suffix in names.VIDEO_SUFFIXES],
        image_formats=[suffix[1:].upper() for suffix in names.IMAGE_SUFFIXES],
    )
