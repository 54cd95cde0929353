"""What schemathesis loads: how to send the body of tus, and what exists in the service."""

from __future__ import annotations

import json
import os
from typing import Any

import schemathesis

from recon3d_api.http import tus

#: Values of path parameters, as the test made them; without them nearly all is 404.
_KNOWN: dict[str, str] = json.loads(os.environ.get("RECON3D_TEST_KNOWN", "{}"))


@schemathesis.serializer(tus.BODY)
def _offset_bytes(context: schemathesis.SerializationContext, value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else json.dumps(value, default=str).encode()


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Let half of the requests that fit the document meet something that exists."""
    if case.meta is None or case.meta.generation.mode.is_negative or not case.path_parameters:
        return
    ends_it = case.method == "DELETE" and case.path.endswith(("/projects/{project_id}", "/{upload_id}"))
    if not ends_it and sum(map(ord, str(case.path_parameters))) % 2:
        case.path_parameters.update(
            {name: value for name, value in _KNOWN.items() if name in case.path_parameters}
        )
