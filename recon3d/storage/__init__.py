"""The only package that imports fsspec: a storage through which machines without a common disk work together.

Everything in a storage is named by its content, so nothing there is ever changed and what exists is
whole. Workers keep what they fetched in a bounded cache.
"""

from __future__ import annotations

from recon3d.storage.address import check_storage
from recon3d.storage.cache import FOLDER_VARIABLE, SIZE_VARIABLE, Cache, default_cache, full, is_full
from recon3d.storage.moved import Moved
from recon3d.storage.parcels import File, Parcel, pack_values, unpack_values
from recon3d.storage.store import Storage, state_of

__all__ = [
    "FOLDER_VARIABLE",
    "SIZE_VARIABLE",
    "Cache",
    "File",
    "Moved",
    "Parcel",
    "Storage",
    "check_storage",
    "default_cache",
    "full",
    "is_full",
    "pack_values",
    "state_of",
    "unpack_values",
]
