"""Whether there is room for an upload: the one place where its size is accounted."""

from __future__ import annotations

from recon3d_api.errors import ApiError
from recon3d_api.files.storage import Storage
from recon3d_api.reserve import DISK_FULL


class Room:
    """Is asked before an upload begins, when its size is known, and before each piece of it is written.

    Parameters
    ----------
    storage : Storage
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def check(self, user_id: int, size: int, unwritten: int) -> None:
        """Refuse what does not fit.

        Parameters
        ----------
        user_id : int
            Whose upload it is.
        size : int
            Bytes of the upload, as far as they are known.
        unwritten : int
            Bytes of it that will be written now.

        Raises
        ------
        ApiError
            507 when the disk would have less than the reserve.
        """
        if self._storage.free - unwritten < self._storage.settings.min_free_mb << 20:
            raise ApiError(507, DISK_FULL)
