"""Passwords and tokens; the only module that imports python-jose and zxcvbn."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
import uuid
from dataclasses import dataclass

from jose import JWTError, jwt
from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

_ALGORITHM = "HS256"
_LEEWAY = 10  # seconds that the clocks of two servers may differ by
#: zxcvbn's score of passwords that a million tries find.
_GUESSABLE = 1
_LONGEST_JUDGED = 72  # judging takes longer than linear time
_judging = threading.Lock()
#: Of "nobody has this password", at the cost that pwdlib has by default.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$fiv0s4Z3zb4QKCZnh30ecw$vMsciZ6BwWtecnZWcXokA4DgvK5Q0Q811t/ummGcyvM"


class Passwords:
    """Hash and verify with argon2id; a hash takes 64 MB."""

    def __init__(self) -> None:
        hasher = Argon2Hasher()
        self._hasher = PasswordHash((hasher,))
        # Verified for unknown users, so that they take as long as known ones. Whatever starts would take a
        # quarter of a second longer to make it.
        alike = not hasher.check_needs_rehash(_NOBODY)
        self._nobody = _NOBODY if alike else hasher.hash("nobody has this password")

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
    if len(set(password)) < 3:
        return "The password is too easy to guess"
    # Imported here: its lists take 40 ms and 30 MB, which commands need not spend.
    from zxcvbn import zxcvbn

    with _judging:  # it keeps the names in a variable that all threads share
        judged = zxcvbn(password[:_LONGEST_JUDGED], user_inputs=[username, email, "recon3d"])
    if judged["score"] <= _GUESSABLE:
        return "The password is too easy to guess: it is common, or a variation of a common one"
    return ""


def digest(secret: str) -> str:
    """Digest a random secret, to find it again without keeping it.

    Parameters
    ----------
    secret : str
        Not a password: those can be guessed, and take `Passwords`.

    Returns
    -------
    str
        64 characters.
    """
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


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

    def issue(self, user_id: int, *, number: str = "", seconds: int | None = None) -> str:
        """Issue a token for a user.

        Parameters
        ----------
        user_id : int
        number : str
            Its id; by default one of its own.
        seconds : int, optional
            How long it is good for, if that is shorter.

        Returns
        -------
        str
        """
        now = time.time()
        claims = {
            "sub": str(user_id),
            "iat": now,
            "exp": int(now) + min(self._seconds, seconds or self._seconds),
            "jti": number or uuid.uuid4().hex,
        }
        return str(jwt.encode(claims, self._secret, algorithm=_ALGORITHM))

    def following(self, secret: str) -> str:
        """Derive what takes the place of a random secret; nobody else can.

        Parameters
        ----------
        secret : str

        Returns
        -------
        str
            43 characters; the same for the same secret.
        """
        derived = hmac.digest(self._secret.encode(), secret.encode("utf-8", "replace"), "sha256")
        return base64.urlsafe_b64encode(derived).rstrip(b"=").decode()

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
