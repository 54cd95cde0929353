"""Rate limits: a moving window for each user or address, in memory or in Redis."""

from __future__ import annotations

import logging
import math
import time

from limits import RateLimitItem, parse
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from recon3d_api.errors import ApiError
from recon3d_api.http.metrics import Metrics
from recon3d_api.settings import Settings

logger = logging.getLogger("recon3d_api.http.rate_limits")


class RateLimits:
    """The service's limits.

    Without Redis each server counts for itself. When Redis does not answer, this server counts in
    memory until it does: a limit that is too generous for a while beats no service.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._memory = MovingWindowRateLimiter(storage_from_string("memory://"))
        self._shared: MovingWindowRateLimiter | None = None
        if settings.redis_url:
            try:
                self._shared = MovingWindowRateLimiter(
                    storage_from_string(settings.redis_url, socket_timeout=1, socket_connect_timeout=1)
                )
            except (ConfigurationError, RedisError) as error:
                logger.warning("Redis cannot be used: %s", error)
        self._retry_redis = 0.0
        self._items: dict[str, RateLimitItem | None] = {
            "general": _parse(settings.rate_limit),
            "processing": _parse(settings.rate_limit_processing),
            "login": _parse(settings.rate_limit_login),
        }

    @property
    def blocking(self) -> bool:
        """Whether counting asks another machine."""
        return self._shared is not None

    def check(self, kind: str, who: str) -> None:
        """Count a request.

        Parameters
        ----------
        kind : str
            Name of the limit.
        who : str
            User or address.

        Raises
        ------
        ApiError
            429 with ``Retry-After`` when there were too many.
        """
        item = self._items[kind]
        if item is not None and not self._call("hit", item, kind, who):
            self._refuse(item, kind, who)

    def check_failures(self, who: str) -> None:
        """Refuse a login after too many failures; this one is not counted.

        Parameters
        ----------
        who : str
            Name and address.

        Raises
        ------
        ApiError
            429 with ``Retry-After``.
        """
        item = self._items["login"]
        if item is not None and not self._call("test", item, "login", who):
            self._refuse(item, "login", who)

    def count_failure(self, who: str) -> None:
        """Count a failed login.

        Parameters
        ----------
        who : str
            Name and address.
        """
        item = self._items["login"]
        if item is not None:
            self._metrics.refused.labels("login").inc()
            self._call("hit", item, "login", who)

    def _call(self, method: str, item: RateLimitItem, kind: str, who: str) -> bool:
        if self._shared is not None and time.monotonic() > self._retry_redis:
            try:
                return bool(getattr(self._shared, method)(item, kind, who))
            except RedisError as error:
                logger.warning("Redis does not answer, counting in memory: %s", error)
                self._retry_redis = time.monotonic() + 5
        return bool(getattr(self._memory, method)(item, kind, who))

    def _refuse(self, item: RateLimitItem, kind: str, who: str) -> None:
        self._metrics.refused.labels("rate_limit").inc()
        logger.info("Too many requests", extra={"limit": kind, "who": who})
        limiter = self._memory
        if self._shared is not None and time.monotonic() > self._retry_redis:
            limiter = self._shared
        try:
            reset = limiter.get_window_stats(item, kind, who).reset_time - time.time()
        except RedisError:
            reset = 1.0
        wait = max(math.ceil(reset), 1)
        raise ApiError(429, f"Too many requests; try again in {wait} s", {"Retry-After": str(wait)})


def _parse(text: str) -> RateLimitItem | None:
    return parse(text) if text else None
