"""Passwords and tokens; the only module that imports python-jose."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass

from jose import JWTError, jwt
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

_ALGORITHM = "HS256"
_LEEWAY = 10  # seconds that the clocks of two servers may differ by
#: Passwords that are tried first; the length is checked elsewhere.
_COMMON = frozenset(
    ("password", "12345678", "123456789", "1234567890", "qwertyui", "qwertyuiop", "iloveyou", "password1")
)


class Passwords:
    """Hash and verify with argon2id; a hash takes 64 MB."""

    def __init__(self) -> None:
        self._hasher = PasswordHash((Argon2Hasher(),))
        # Verified for unknown users, so that they take as long as known ones.
        self._nobody = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """Hash a password.

        Parameters
        ----------
        password : str

        Returns
        -------
        str
        """
        return self._hasher.hash(password)

    def verify(self, password: str, hashed: str | None) -> bool:
        """Check a password.

        Parameters
        ----------
        password : str
        hashed : str or None
            None for an unknown user, which takes the same time.

        Returns
        -------
        bool
        """
        try:
            right = self._hasher.verify(password, hashed or self._nobody)
        except UnknownHashError:  # an account without a password, or from another system
            return False
        return right and hashed is not None


def password_problem(password: str, username: str, email: str) -> str:
    """Tell why a password is refused.

    Parameters
    ----------
    password : str
    username : str
    email : str

    Returns
    -------
    str
        Empty when the password is accepted.
    """
    lowered = password.lower()
    if lowered in (username.lower(), email.lower(), email.lower().partition("@")[0]):
        return "The password must differ from the username and the e-mail address"
    if lowered in _COMMON or len(set(password)) < 3:
        return "The password is too easy to guess"
    return ""


@dataclass(frozen=True)
class Token:
    """What a token says whose signature is right."""

    user_id: int
    id: str
    issued: float
    expires: float


class Tokens:
    """Make and check access tokens.

    Parameters
    ----------
    secret : str
    minutes : int
        How long a token is good for.
    """

    def __init__(self, secret: str, minutes: int) -> None:
        self._secret = secret
        self._seconds = minutes * 60

    def issue(self, user_id: int) -> str:
        """Issue a token for a user.

        Parameters
        ----------
        user_id : int

        Returns
        -------
        str
        """
        now = time.time()
        claims = {
            "sub": str(user_id),
            "iat": now,
            "exp": int(now) + self._seconds,
            "jti": uuid.uuid4().hex,
        }
        return str(jwt.encode(claims, self._secret, algorithm=_ALGORITHM))

    def read(self, token: str) -> Token | None:
        """Check a token.

        Parameters
        ----------
        token : str

        Returns
        -------
        Token or None
            None when the token is not valid; `access.active_user` tells whether it is revoked.
        """
        try:
            # The algorithm is ours to choose: the token's header is not asked.
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                options={"require_exp": True, "require_sub": True, "require_iat": True},
            )
        except JWTError:
            return None
        subject, issued = claims["sub"], claims["iat"]
        if not subject.isascii() or not subject.isdigit() or len(subject) > 9:
            return None
        if not isinstance(issued, int | float) or issued > time.time() + _LEEWAY:
            return None
        number = claims.get("jti", "")
        if not isinstance(number, str):
            return None
        # Tokens of an earlier version have no id of their own.
        number = number or hashlib.sha256(token.encode()).hexdigest()
        return Token(int(subject), number[:32], float(issued), float(claims["exp"]))
