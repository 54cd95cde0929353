"""Options of a run, as a request gives them: checked by the models that the command line uses."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError

import recon3d
from recon3d_api import schemas


def checked(quality: schemas.Quality, body: schemas.StartReconstruction) -> dict[str, dict[str, Any]]:
    """Check a request's options.

    Parameters
    ----------
    quality : str
    body : StartReconstruction

    Returns
    -------
    dict of str to dict of str to Any
        Values by stage and option, as the models read them. None stands for the automatic choice.

    Raises
    ------
    RequestValidationError
        A stage does not have an option, or a value is out of range; all of these are named.
    """
    given: dict[str, dict[str, Any]] = {stage: dict(values) for stage, values in body.options.items()}
    if body.component is not None:
        given.setdefault("sparse_reconstruction", {})["component"] = body.component
    found: dict[str, dict[str, Any]] = {}
    faults = []
    for stage, values in given.items():
        for option, value in values.items():
            alone: Any = {stage: {option: value}}
            try:
                model = recon3d.Pipeline(quality, **alone).options[stage]
            except recon3d.OptionError as error:
                message = f"{error.message} {error.hint}".strip()
                place = ("body", "options", stage, option)
                faults.append({"loc": place, "msg": message, "type": "value_error"})
            else:
                found.setdefault(stage, {})[option] = getattr(model, option)
    if faults:
        raise RequestValidationError(faults)
    return found
