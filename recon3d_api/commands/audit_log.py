"""``recon3d-api audit``."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import Annotated

import typer

from recon3d_api.commands.common import parts, settings

app = typer.Typer()


@app.command("audit")
def show(
    user: Annotated[str, typer.Option(help="Only of this user.")] = "",
    action: Annotated[str, typer.Option(help="Only this, as in login or login.failed.")] = "",
    days: Annotated[float, typer.Option(help="Only of the last days; 0 for all.", min=0)] = 0.0,
    limit: Annotated[int, typer.Option(help="Entries at most, the newest.", min=1)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """Show who logged in, changed a password, made a key, deleted a project and more, oldest first."""
    from recon3d_api.store import audit

    since = time.time() - days * 86_400 if days else 0.0
    with parts(settings()) as (database, _, installation), installation.maintain():
        wanted = audit.entries(username=user, action=action, since=since).limit(limit)
        with database.read() as session:
            rows = session.scalars(wanted).all()
    for row in reversed(rows):
        when = datetime.fromtimestamp(row.time, timezone.utc).isoformat(timespec="seconds")
        fields = {
            "time": when,
            "action": row.action,
            "user": row.username,
            "address": row.address,
            "target": row.target,
            "request_id": row.request_id,
        }
        typer.echo(
            json.dumps(fields, ensure_ascii=False)
            if as_json
            else "  ".join(value or "-" for value in fields.values())
        )
