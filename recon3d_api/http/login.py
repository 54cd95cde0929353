"""Logging in with a password: one way, whatever it gives."""

from __future__ import annotations

import logging

from recon3d_api.errors import unauthorized
from recon3d_api.http import accounts
from recon3d_api.http.dependencies import Service
from recon3d_api.store import audit
from recon3d_api.store.tables import User

logger = logging.getLogger("recon3d_api.auth")


def log_in(service: Service, name: str, password: str, address: str) -> User:
    """Check a password; takes long, so call it in the lane of passwords.

    Parameters
    ----------
    service : Service
    name : str
        Username or e-mail address.
    password : str
    address : str
        Where the caller is.

    Returns
    -------
    User

    Raises
    ------
    ApiError
        401, the same for all causes; 429 after too many failures.
    """
    key = name.strip().lower()[:64]
    # Counted by what was typed: counting by account would tell which address belongs to which name.
    who = f"{key}@{address}"
    service.limits.check_failures(who)
    with service.database.read() as session:
        user = accounts.find(session, name)
    # The same work and the same answer whether or not there is such a user.
    right = service.passwords.verify(
        password.encode("utf-8", "replace").decode(), user.password_hash if user else None
    )
    if user is None or not right or not user.is_active:
        service.limits.count_failure(who)
        logger.warning("Login refused", extra={"username": key, "address": address})
        # A byte that PostgreSQL cannot store is no reason to answer otherwise.
        audit.record_apart(
            service.database, "login.failed", username="".join(c for c in key if c.isprintable())
        )
        raise unauthorized("Incorrect username or password")
    audit.record_apart(service.database, "login", user=user)
    return user
