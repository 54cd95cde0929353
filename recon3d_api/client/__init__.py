"""A Python client of the service."""

from __future__ import annotations

from recon3d_api.client.service_client import ApiError, Client, ReconstructionFailed

__all__ = ["ApiError", "Client", "ReconstructionFailed"]
