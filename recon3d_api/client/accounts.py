"""The account."""

from __future__ import annotations

from datetime import datetime

from recon3d_api import schemas
from recon3d_api.client.connection import Connection


class Accounts(Connection):
    """What a client does with its account."""

    def register(
        self, username: str, email: str, password: str, full_name: str | None = None
    ) -> schemas.User:
        """Register an account, and log in.

        Parameters
        ----------
        username, email, password : str
        full_name : str, optional

        Returns
        -------
        schemas.User
            The new account.
        """
        body = {"username": username, "email": email, "password": password, "full_name": full_name}
        user = self._get(schemas.User, "POST", "/auth/register", json=body)
        self.login(username, password)
        return user

    def me(self) -> schemas.User:
        """Get the account.

        Returns
        -------
        schemas.User
        """
        return self._get(schemas.User, "GET", "/auth/me")

    def create_key(self, name: str, expires_at: datetime | None = None) -> schemas.NewApiKey:
        """Make an API key, which `Client` takes in the place of a token.

        Parameters
        ----------
        name : str
        expires_at : datetime, optional
            With a time zone.

        Returns
        -------
        schemas.NewApiKey
            The service does not show the key again.
        """
        body = {"name": name, "expires_at": expires_at.isoformat() if expires_at else None}
        return self._get(schemas.NewApiKey, "POST", "/auth/keys", json=body)

    def api_keys(self) -> list[schemas.ApiKey]:
        """List the API keys.

        Returns
        -------
        list of schemas.ApiKey
            Newest first.
        """
        return self._list(schemas.ApiKey, "/auth/keys")

    def revoke_key(self, key_id: int) -> None:
        """Revoke an API key.

        Parameters
        ----------
        key_id : int
        """
        self._get(schemas.Message, "DELETE", f"/auth/keys/{key_id}")

    def notifications(self) -> schemas.Notifications:
        """Tell what mail the account gets.

        Returns
        -------
        schemas.Notifications
        """
        return self._get(schemas.Notifications, "GET", "/auth/notifications")

    def mail_when_runs_end(self, wanted: bool) -> schemas.Notifications:
        """Turn mail about completed and failed runs on or off; needs a login, not an API key.

        Parameters
        ----------
        wanted : bool

        Returns
        -------
        schemas.Notifications
        """
        return self._get(schemas.Notifications, "PUT", "/auth/notifications", json={"run_ended": wanted})
