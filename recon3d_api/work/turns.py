"""Whose run is next: users take turns, however many runs each of them has queued.

The user with the fewest running runs is first; of these the one who was served longest ago; of a
user's runs the oldest.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session, aliased

from recon3d_api.store.tables import Run


def fair_order() -> tuple[ColumnElement[Any], ...]:
    """Make the order in which runs are taken; ones whose runner is gone come first.

    Returns
    -------
    tuple of ColumnElement
        For ``order_by`` of a query of `Run`.
    """
    other = aliased(Run)
    own = other.owner_id == Run.owner_id
    running = select(func.count()).where(own, other.status == "running")
    served = select(func.max(other.started_at)).where(own)
    return (
        case((Run.status == "running", 0), else_=1),
        running.correlate(Run).scalar_subquery(),
        served.correlate(Run).scalar_subquery().nulls_first(),
        Run.id.asc(),
    )


def position(session: Session, run: Run) -> int | None:
    """Tell how many runs will be taken until it is this one's turn, itself included.

    Parameters
    ----------
    session : Session
    run : Run

    Returns
    -------
    int or None
        From 1 on; None when the run does not wait. Later runs of other users may come first.
    """
    if run.status != "queued":
        return None
    waiting: defaultdict[int, deque[int]] = defaultdict(deque)
    for row in session.execute(select(Run.id, Run.owner_id).where(Run.status == "queued").order_by(Run.id)):
        waiting[row.owner_id].append(row.id)
    running: dict[int, int] = {}
    for owner, count in session.execute(
        select(Run.owner_id, func.count()).where(Run.status == "running").group_by(Run.owner_id)
    ):
        running[owner] = count
    served: dict[int, datetime | None] = {}
    for owner, moment in session.execute(
        select(Run.owner_id, func.max(Run.started_at)).where(Run.owner_id.in_(waiting)).group_by(Run.owner_id)
    ):
        served[owner] = moment
    heap = [
        (running.get(owner, 0), moment.timestamp() if (moment := served.get(owner)) else 0.0, runs[0], owner)
        for owner, runs in waiting.items()
    ]
    heapq.heapify(heap)
    turn = 0
    while heap:
        busy, _, taken, owner = heapq.heappop(heap)
        turn += 1
        if taken == run.id:
            return turn
        waiting[owner].popleft()
        if waiting[owner]:
            # Later than all times in the database.
            heapq.heappush(heap, (busy + 1, 1e12 + turn, waiting[owner][0], owner))
    return None
