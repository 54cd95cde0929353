"""Users take turns: with runs in the queue, and with uploads that are checked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from recon3d_api.files.intakes import Turns
from recon3d_api.store.tables import Run
from recon3d_api.work import processes
from recon3d_api.work.claims import RunClaims
from recon3d_api.work.queue import end_run
from tests.api.conftest import Api, started

Serve = Callable[..., contextlib.AbstractContextManager[Api]]


def test_runs_are_taken_in_turns(serve: Serve) -> None:
    with serve(runners=0) as api, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(api.client(api.user()[1])) for _ in range(3)]
        # The first user was there first, with four runs; the others have two and one.
        order = [0, 0, 0, 0, 1, 1, 2]
        made = [(user, started(clients[user])) for user in order]

        def place(user: int, project: int) -> int | None:
            found: int | None = clients[user].get(f"/projects/{project}/status").json()["queue_position"]
            return found

        places = [place(*one) for one in made]
        assert places == [1, 4, 6, 7, 2, 5, 3]
        claims = RunClaims(api.service.database, processes.own_name(), 60.0)
        taken = []
        for _ in made:
            claim = claims.claim()
            assert claim is not None
            taken.append(claim)
        projects = [claim.project_id for claim in taken]
        assert projects == [project for _, (_, project) in sorted(zip(places, made, strict=True))]
        assert claims.claim() is None
        assert [place(*one) for one in made] == [None] * 7


def test_who_was_served_longest_ago_is_next(serve: Serve) -> None:
    """One runner: while a run works all others have none, so that the last turn decides."""
    with serve(runners=0) as api, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(api.client(api.user()[1])) for _ in range(2)]
        projects = {started(clients[user]): user for user in (0, 0, 0, 1, 1)}
        claims = RunClaims(api.service.database, processes.own_name(), 60.0)
        served = []
        while claim := claims.claim():
            served.append(projects[claim.project_id])
            with api.service.database.write() as session:
                end_run(session, session.get_one(Run, claim.run_id), "completed")
        assert served == [0, 1, 0, 1, 0]


def test_a_run_whose_runner_is_gone_is_taken_first(serve: Serve) -> None:
    with serve(runners=0) as api, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(api.client(api.user()[1])) for _ in range(2)]
        interrupted = started(clients[0])
        claims = RunClaims(api.service.database, processes.own_name(), 60.0)
        first = claims.claim()
        started(clients[1])
        with api.service.database.write() as session:
            assert first is not None
            session.get_one(Run, first.run_id).lease_until = 0.0
        again = claims.claim()
        assert again is not None
        assert (again.project_id, again.attempt) == (interrupted, 2)


def test_one_intake_serves_users_in_turn() -> None:
    """With INTAKES=1 a second user waits for one upload of a busy user, not for all."""

    async def serve_all() -> list[int]:
        turns, served = Turns(1), []

        async def upload(user: int) -> None:
            async with turns.turn(user) as limiter, limiter:
                served.append(user)
                await asyncio.sleep(0.01)

        busy = [asyncio.create_task(upload(1)) for _ in range(8)]
        await asyncio.sleep(0.015)
        await asyncio.gather(upload(2), *busy)
        return served

    assert asyncio.run(serve_all()).index(2) <= 3
