"""A server process whose runs are stand-ins: ``python -m tests.api.server PORT``; settings as usual."""

from __future__ import annotations

import sys

import uvicorn

from recon3d_api import logs
from recon3d_api.app import create_app
from recon3d_api.settings import Settings
from recon3d_api.work.claims import Claim
from tests.api.fake_run import command_for


def main() -> None:
    settings = Settings().prepare()
    logs.configure("INFO", "json")

    def command(claim: Claim) -> list[str]:
        return command_for(claim.quality, claim.until, settings.projects_dir / claim.folder)

    app = create_app(settings, command=command)
    uvicorn.run(app, port=int(sys.argv[1]), log_config=None, ws="websockets-sansio")


if __name__ == "__main__":
    main()
