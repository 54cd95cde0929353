"""A client of the service; answers are the models of `recon3d_api.schemas`.

>>> from recon3d_api.client import Client
>>> client = Client("http://localhost:8000")  # doctest: +SKIP
>>> client.login("ada", "correct horse battery")  # doctest: +SKIP
>>> project = client.create_project("Bust")  # doctest: +SKIP
>>> client.upload_video(project.id, "bust.mp4")  # doctest: +SKIP
>>> client.start_reconstruction(project.id, "low")  # doctest: +SKIP
>>> client.wait(project.id)  # doctest: +SKIP
>>> client.download(project.id, "textured_mesh", "bust.glb")  # doctest: +SKIP
"""

from __future__ import annotations

from recon3d_api.client.connection import ApiError
from recon3d_api.client.files import Files
from recon3d_api.client.jobs import Jobs
from recon3d_api.client.waiting import ReconstructionFailed, Waiting

__all__ = ["ApiError", "Client", "ReconstructionFailed"]


class Client(Files, Jobs, Waiting):
    """Talks to one service.

    Parameters
    ----------
    url : str
        Root of the service, as in ``http://localhost:8000``.
    token : str, optional
        An access token or an API key, if there is one already.
    timeout : float
        Seconds to wait for an answer.
    retries : int
        How often a request is repeated after 429, a lost connection or 503.
    """
