"""WebSocket listeners: one reader of the event table for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from recon3d_api.http.access import good_tokens
from recon3d_api.http.security import Token
from recon3d_api.store.database import Database
from recon3d_api.store.tables import Event, Project

logger = logging.getLogger("recon3d_api.events")

#: Changes that follow each other so fast are looked at together.
_PAUSE = 0.1
#: Seconds after which it looks although nobody told of a change.
_PATIENCE = 60.0
#: A listener that got nothing for so long gets a sign of life, with all others: one wake-up for many.
_HEARTBEAT = 15.0
#: A listener that is further behind gets the newest progress only; states are never left out.
_BACKLOG = 64
_BATCH = 500


@dataclass(frozen=True)
class Message:
    """An event, as text that is made once for all listeners."""

    seq: int
    job_id: int
    progress: bool
    text: str


def timestamp(moment: datetime) -> str:
    """Format a time for messages.

    Parameters
    ----------
    moment : datetime

    Returns
    -------
    str
    """
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_of(row: Event) -> Message:
    """Convert a row to a message.

    Parameters
    ----------
    row : Event

    Returns
    -------
    Message
    """
    body: dict[str, Any] = {
        "event": row.event,
        "job_id": row.job_id,
        "project_id": row.project_id,
        "job_type": row.job_type,
        "status": row.status,
        "progress": row.progress,
        "message": row.message,
        "error": row.error,
        "seq": row.seq,
        "timestamp": timestamp(row.timestamp),
    }
    if row.pictures is not None:
        body["pictures"] = timestamp(row.pictures)
    return Message(row.seq, row.job_id, row.event == "job_progress", json.dumps(body))


def read_messages(database: Database, project_id: int, after: int) -> list[Message]:
    """Read the messages of a project.

    Parameters
    ----------
    database : Database
    project_id : int
    after : int
        Only messages with a higher number.

    Returns
    -------
    list of Message
    """
    with database.read() as session:
        rows = session.scalars(
            select(Event).where(Event.project_id == project_id, Event.seq > after).order_by(Event.seq)
        )
        return [message_of(row) for row in rows]


class Listener:
    """One connection's messages that wait to be sent.

    Parameters
    ----------
    token : Token
        The connection ends when it is not good any more.

    Attributes
    ----------
    closed : bool
        The connection is to end.
    revoked : bool
        It ends because its token is not good any more.
    """

    def __init__(self, token: Token) -> None:
        self.token = token
        self.closed = False
        self.revoked = False
        self._last = 0
        self._pending: deque[Message] = deque()
        self._ready = asyncio.Event()
        self._quiet = self._beat = False

    @property
    def last(self) -> int:
        """Number of the newest message taken."""
        return self._last

    def skip_to(self, seq: int) -> None:
        """Skip messages up to a number.

        Parameters
        ----------
        seq : int
        """
        self._last = max(self._last, seq)

    def push(self, messages: Iterable[Message]) -> None:
        """Queue messages; known ones are skipped.

        Parameters
        ----------
        messages : iterable of Message
        """
        for message in messages:
            if message.seq > self._last:
                self._last = message.seq
                self._pending.append(message)
                self._quiet = False
        if len(self._pending) > _BACKLOG:
            newest = {message.job_id: message.seq for message in self._pending}
            self._pending = deque(
                message
                for message in self._pending
                if not message.progress or newest[message.job_id] == message.seq
            )
        self._ready.set()

    def close(self, *, revoked: bool = False) -> None:
        """End the connection.

        Parameters
        ----------
        revoked : bool
            Because of its token; otherwise the project is gone.
        """
        self.closed, self.revoked = True, revoked
        self._ready.set()

    def beat(self) -> None:
        """Wake the listener if no message came since the last beat."""
        if self._quiet:
            self._beat = True
            self._ready.set()
        self._quiet = True

    async def next(self) -> Message | None:
        """Wait for the next message.

        Returns
        -------
        Message or None
            None when no message came for a while, or when the listener is closed.
        """
        while not (self._pending or self.closed or self._beat):
            self._ready.clear()
            await self._ready.wait()
        self._beat = False
        return self._pending.popleft() if self._pending else None


class Hub:
    """Gives each listener the events of its project.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: dict[int, set[Listener]] = {}
        self._last: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """Listeners now."""
        return sum(len(group) for group in self._listeners.values())

    @contextlib.asynccontextmanager
    async def listen(self, project_id: int, seq: int, token: Token) -> Any:
        """Subscribe to the messages of a project.

        Parameters
        ----------
        project_id : int
        seq : int
            Only messages with a higher number.
        token : Token
            The listener's.

        Yields
        ------
        Any
        """
        listener = Listener(token)
        listener.skip_to(seq)
        group = self._listeners.setdefault(project_id, set())
        if not group:
            self._last[project_id] = seq
        behind = self._last[project_id] > seq
        group.add(listener)
        self._changed.set()  # what changed since the caller read `seq` has been told already
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read())
        if self._timer is None:
            self._time_beat()
        try:
            if behind:
                # The common reader is past this listener's place: what lies between is read for it.
                missed = await to_thread.run_sync(read_messages, self._database, project_id, seq)
                caught = list(listener._pending)
                listener._pending.clear()
                listener._last = seq
                listener.push([*missed, *caught])
            yield listener
        finally:
            group.discard(listener)
            if not group:
                self._listeners.pop(project_id, None)
                self._last.pop(project_id, None)
            if not self._listeners:
                self._stop_beats()

    async def close(self) -> None:
        """End all listeners and the reader."""
        self._stop_beats()
        for group in list(self._listeners.values()):
            for listener in list(group):
                listener.close()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _time_beat(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_HEARTBEAT, self._beat)

    def _beat(self) -> None:
        for group in self._listeners.values():
            for listener in group:
                listener.beat()
        self._time_beat()

    def _stop_beats(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()

        def told() -> None:
            with contextlib.suppress(RuntimeError):  # the server ends
                loop.call_soon_threadsafe(self._changed.set)

        with self._database.changes.listener(told):
            while self._listeners:
                self._changed.clear()
                try:
                    await self._look()
                except SQLAlchemyError as error:
                    logger.warning("Events cannot be read: %s", error)
                    await asyncio.sleep(1)
                    self._changed.set()
                await asyncio.sleep(_PAUSE)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), _PATIENCE)

    async def _look(self) -> None:
        listening = [listener for group in self._listeners.values() for listener in group]
        tokens = {listener.token for listener in listening}
        found, good = await to_thread.run_sync(self._poll, dict(self._last), tokens)
        for listener in listening:
            if listener.token not in good:
                listener.close(revoked=True)
        for project_id, messages in found.items():
            group = self._listeners.get(project_id, set())
            if messages is None:
                for listener in group:
                    listener.close()
            elif messages and project_id in self._last:
                self._last[project_id] = max(self._last[project_id], messages[-1].seq)
                for listener in group:
                    listener.push(messages)

    def _poll(
        self, known: dict[int, int], tokens: set[Token]
    ) -> tuple[dict[int, list[Message] | None], set[Token]]:
        """New messages by project, None for one that is gone; and the tokens that are good."""
        found: dict[int, list[Message] | None] = {}
        ids = list(known)
        with self._database.read() as session:
            good = good_tokens(session, tokens)
            for start in range(0, len(ids), _BATCH):
                part = ids[start : start + _BATCH]
                rows = session.execute(select(Project.id, Project.event_seq).where(Project.id.in_(part)))
                newest = {row.id: row.event_seq for row in rows}
                found.update({project_id: None for project_id in part if project_id not in newest})
                for project_id, seq in newest.items():
                    if seq > known[project_id]:
                        events = session.scalars(
                            select(Event)
                            .where(Event.project_id == project_id, Event.seq > known[project_id])
                            .order_by(Event.seq)
                        )
                        found[project_id] = [message_of(row) for row in events]
        return found, good
