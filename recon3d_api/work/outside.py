"""Requests to addresses that users give: never into the network that the service stands in.

A name is resolved once, every address that it has is checked, and the connection goes to one that was
checked: a name that changes its address meanwhile gains nothing. There are no redirects and no proxies,
an answer's body is read up to a limit, and the whole exchange has a deadline.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

_CONNECT_SECONDS, _SECONDS = 5.0, 15.0
_MAX_ANSWER = 64 << 10
#: IPv6 addresses that hold an IPv4 address, beside the mapped ones (RFC 6052, 3056, 4291).
_NAT64, _COMPATIBLE = ip_network("64:ff9b::/96"), ip_network("::/96")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Refused(Exception):
    """An address that the service does not send to; the message says why."""


def split(url: str) -> SplitResult:
    """Check the form of an address.

    Parameters
    ----------
    url : str

    Returns
    -------
    SplitResult

    Raises
    ------
    Refused
        It is not one of HTTP, or holds a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"The URL is not valid: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused("Use an URL such as https://example.com/hook")
    if not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise Refused("The URL holds characters that must be encoded")
    if "@" in parts.netloc:
        raise Refused("The URL must not hold a name or password")
    if port == 0:
        raise Refused("The URL has no valid port")
    return parts


def check_literal(url: str, allowed: Sequence[str]) -> None:
    """Check an address without asking for names; `post` checks them each time.

    Parameters
    ----------
    url : str
    allowed : sequence of str
        Networks that are allowed although they are not public.

    Raises
    ------
    Refused
    """
    host = split(url).hostname or ""
    try:
        address: Address = ip_address(host.partition("%")[0])
    except ValueError:
        return
    _check(address, [ip_network(text) for text in allowed])


def addresses(host: str, port: int, allowed: Sequence[str]) -> list[str]:
    """Resolve a name to addresses that may be reached.

    Parameters
    ----------
    host : str
    port : int
    allowed : sequence of str
        Networks that are allowed although they are not public.

    Returns
    -------
    list of str

    Raises
    ------
    Refused
        It has no address, or one that is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{host} cannot be resolved") from error
    networks = [ip_network(text) for text in allowed]
    usable = list(dict.fromkeys(str(row[4][0]) for row in found))
    for text in usable:
        _check(ip_address(text.partition("%")[0]), networks)
    return usable


def _check(address: Address, allowed: Sequence[Network]) -> None:
    for inner in _inside(address):
        if any(inner in network for network in allowed if network.version == inner.version):
            continue
        if not inner.is_global or inner.is_multicast or inner.is_reserved or inner.is_unspecified:
            raise Refused("The address is inside the network; RECON3D_API_WEBHOOK_NETWORKS can allow it")


def _inside(address: Address) -> list[Address]:
    """The addresses that a packet to this one may end at."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    held: list[Address] = [address]
    if address.sixtofour is not None:
        held.append(address.sixtofour)
    if address.teredo is not None:
        held += address.teredo
    if address in _NAT64 or address in _COMPATIBLE:
        held.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return held


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, under the name that was asked for."""

    def __init__(self, host: str, port: int, address: str, secure: bool, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self._address = address
        self._secure = secure

    def connect(self) -> None:
        """Connect to the address."""
        self.sock = socket.create_connection((self._address, self.port), timeout=_CONNECT_SECONDS)
        self.sock.settimeout(self.timeout)
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    allowed: Sequence[str],
    *,
    seconds: float = _SECONDS,
) -> int:
    """Send a request.

    Parameters
    ----------
    url : str
    body : bytes
    headers : mapping of str to str
    allowed : sequence of str
        Networks that are allowed although they are not public.
    seconds : float
        For the whole exchange.

    Returns
    -------
    int
        HTTP status of the answer.

    Raises
    ------
    Refused
        The address must not be reached.
    OSError, http.client.HTTPException
        The exchange failed.
    """
    parts = split(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    found = addresses(host, port, allowed)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _Pinned(host, port, found[0], secure, seconds)
    ended = threading.Event()

    def end() -> None:
        ended.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", target, body, {**headers, "Host": parts.netloc, "Connection": "close"})
        answer = connection.getresponse()
        answer.read(_MAX_ANSWER)
        if ended.is_set():  # an answer that is cut off may look whole
            raise TimeoutError(f"no answer within {seconds:g} s")
        return answer.status
    except (OSError, http.client.HTTPException) as error:
        if ended.is_set():
            raise TimeoutError(f"no answer within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()
        connection.close()
