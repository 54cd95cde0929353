"""Lists: a page of rows from an index, how many rows there are in all, and where other pages are."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from sqlalchemy import ColumnElement, Row, Select, func
from sqlalchemy.orm import InstrumentedAttribute, Session

from recon3d_api.schemas import MAX_ID, Text

#: Headers that browsers must be allowed to read.
HEADERS = ("X-Total-Count", "Link")

Search = Annotated[
    Text | None,
    Query(min_length=1, max_length=200, description="Part of the project's name; case does not matter"),
]
Skip = Annotated[int, Query(ge=0, le=MAX_ID, description="Rows to skip")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Rows to return at most")]


def described() -> dict[str, Any]:
    """Describe the headers of a list for the OpenAPI document.

    Returns
    -------
    dict of str to Any
        The answer with status 200.
    """
    return {
        "description": "A page of the list",
        "headers": {
            "X-Total-Count": {
                "description": "Rows on all pages",
                "schema": {"type": "integer", "minimum": 0},
            },
            "Link": {
                "description": "Addresses of the first, previous, next and last page (RFC 8288)",
                "schema": {"type": "string"},
            },
        },
    }


def contains(column: InstrumentedAttribute[str], part: str) -> ColumnElement[bool]:
    """Make the condition that a text has a part, whatever the case of the letters.

    Parameters
    ----------
    column : column
    part : str

    Returns
    -------
    ColumnElement
    """
    return func.lower(column).contains(part.lower(), autoescape=True)


def read_page(
    session: Session, wanted: Select[Any], request: Request, response: Response, skip: int, limit: int
) -> list[Row[Any]]:
    """Read a page, and tell about the others in the headers.

    Parameters
    ----------
    session : Session
    wanted : Select
        All rows, in order.
    request : Request
    response : Response
        Gets the headers.
    skip, limit : int

    Returns
    -------
    list of Row
    """
    rows = list(session.execute(wanted.offset(skip).limit(limit)))
    # The last page tells the total by itself.
    known = len(rows) < limit and (rows or not skip)
    counted = wanted.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    total = skip + len(rows) if known else session.scalar(counted) or 0
    response.headers["X-Total-Count"] = str(total)
    response.headers["Link"] = links(request, skip, limit, total)
    return rows


def links(request: Request, skip: int, limit: int, total: int) -> str:
    """Write the header ``Link``; addresses are relative, so that they are right behind every proxy.

    Parameters
    ----------
    request : Request
    skip, limit, total : int

    Returns
    -------
    str
    """
    places = {"first": 0, "last": max(total - 1, 0) // limit * limit}
    if skip > 0:
        places["prev"] = max(min(skip, places["last"] + limit) - limit, 0)
    if skip + limit < total:
        places["next"] = skip + limit
    kept = [pair for pair in request.query_params.multi_items() if pair[0] not in ("skip", "limit")]
    return ", ".join(
        f'<?{urlencode([*kept, ("skip", place), ("limit", limit)])}>; rel="{name}"'
        for name, place in places.items()
    )
