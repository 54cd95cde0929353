"""Passwords that are cheap to check: at full cost, one takes a quarter of a CPU-second."""

from __future__ import annotations

import functools

from pwdlib.hashers.argon2 import Argon2Hasher

#: Takes the place of `recon3d_api.http.security.Argon2Hasher` for the services that are made after.
CheapHasher = functools.partial(Argon2Hasher, time_cost=1, memory_cost=8, parallelism=1)
