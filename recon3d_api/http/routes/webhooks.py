"""Webhooks of a project, and the log of what was sent to them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from recon3d_api import schemas
from recon3d_api.errors import ApiError, not_found
from recon3d_api.http.dependencies import ProjectId, ServiceDep, UserDep, answers, own_project, throttle
from recon3d_api.store import audit, webhooks
from recon3d_api.store.tables import Delivery, User, Webhook
from recon3d_api.work import outside

router = APIRouter(
    prefix="/projects/{project_id}/webhooks", tags=["webhooks"], dependencies=[Depends(throttle("general"))]
)
_WebhookId = Annotated[int, Path(ge=1, le=schemas.MAX_ID, examples=[1])]


def _own(session: Session, user: User, project_id: int, webhook_id: int) -> Webhook:
    own_project(session, user, project_id)
    webhook = session.get(Webhook, webhook_id)
    if webhook is None or webhook.project_id != project_id:
        raise not_found("Webhook")
    return webhook


def _out(row: Delivery) -> schemas.WebhookDelivery:
    names = set(schemas.WebhookDelivery.model_fields) - {"next_attempt"}
    waits = row.status == "pending" and row.attempts and not row.in_flight
    due = datetime.fromtimestamp(row.due, timezone.utc) if waits else None
    return schemas.WebhookDelivery(**{name: getattr(row, name) for name in names}, next_attempt=due)


@router.post("", status_code=201, responses=answers(400, 401, 404, 507))
def create_webhook(
    project_id: ProjectId, body: schemas.WebhookCreate, user: UserDep, service: ServiceDep
) -> schemas.WebhookCreated:
    """Tell an address how the project's runs end.

    The answer holds the secret that signs messages; it cannot be read again.
    """
    try:
        outside.check_literal(body.url, service.settings.webhook_networks)
    except outside.Refused as error:
        raise ApiError(400, f"{error}") from error
    with service.database.write() as session:
        own_project(session, user, project_id, lock=True)
        held = session.scalar(select(func.count()).where(Webhook.project_id == project_id)) or 0
        if held >= webhooks.MOST:
            raise ApiError(400, f"The project has {held} webhooks; delete some first")
        webhook = Webhook(
            project_id=project_id,
            url=body.url,
            events=list(dict.fromkeys(body.events)),
            secret=webhooks.new_secret(),
        )
        session.add(webhook)
        session.flush()
        target = f"webhook {webhook.id} of project {project_id}"
        audit.record(session, "webhook.created", user=user, target=target)
        return schemas.WebhookCreated.model_validate(webhook)


@router.get("", responses=answers(401, 404))
def list_webhooks(project_id: ProjectId, user: UserDep, service: ServiceDep) -> list[schemas.Webhook]:
    """List the project's webhooks, newest first."""
    with service.database.read() as session:
        own_project(session, user, project_id)
        rows = session.scalars(
            select(Webhook).where(Webhook.project_id == project_id).order_by(Webhook.id.desc())
        )
        return [schemas.Webhook.model_validate(row) for row in rows]


@router.delete("/{webhook_id}", responses=answers(401, 404, 507))
def delete_webhook(
    project_id: ProjectId, webhook_id: _WebhookId, user: UserDep, service: ServiceDep
) -> schemas.Message:
    """Delete a webhook with its log; messages that wait are not sent."""
    with service.database.write() as session:
        session.delete(_own(session, user, project_id, webhook_id))
        target = f"webhook {webhook_id} of project {project_id}"
        audit.record(session, "webhook.deleted", user=user, target=target)
    return schemas.Message(message="The webhook is deleted")


@router.post("/{webhook_id}/test", status_code=202, responses=answers(401, 404, 507))
def test_webhook(
    project_id: ProjectId, webhook_id: _WebhookId, user: UserDep, service: ServiceDep
) -> schemas.WebhookDelivery:
    """Send a message of type `webhook.test`; the log of deliveries tells how it went."""
    with service.database.write() as session:
        webhook = _own(session, user, project_id, webhook_id)
        row = webhooks.message_for(webhook, user.id, webhooks.TEST, {"project_id": project_id})
        session.add(row)
        session.flush()
        answer = _out(row)
    service.webhooks.wake()
    return answer


@router.get("/{webhook_id}/deliveries", responses=answers(401, 404))
def list_deliveries(
    project_id: ProjectId,
    webhook_id: _WebhookId,
    user: UserDep,
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=webhooks.KEPT, description="Deliveries to return at most")] = 50,
) -> list[schemas.WebhookDelivery]:
    """List what was sent to a webhook, newest first, with the state of the newest attempt."""
    with service.database.read() as session:
        _own(session, user, project_id, webhook_id)
        rows = session.scalars(
            select(Delivery)
            .where(Delivery.webhook_id == webhook_id)
            .order_by(Delivery.id.desc())
            .limit(limit)
        )
        return [_out(row) for row in rows]
