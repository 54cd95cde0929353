"""Names for copies of files, which every program and file system can handle."""

from __future__ import annotations

import re
import unicodedata

#: A number, a suffix and what other files add to the name must fit into 255 bytes, too.
_LONGEST = 180
_LONGEST_SUFFIX = 16


def copy_name(name: str) -> str:
    """Keep a file's name where it is harmless, and make a similar one where it is not.

    Parameters
    ----------
    name : str
        As the file system gives it: bytes that are not UTF-8 are lone surrogates.

    Returns
    -------
    str
        UTF-8 without control characters, at most 180 bytes long.
    """
    clean = "".join("_" if unicodedata.category(c) in ("Cc", "Cs") else c for c in name)
    if len(clean.encode()) <= _LONGEST:
        return clean
    found = re.search(rf"\.\w{{1,{_LONGEST_SUFFIX - 1}}}$", clean, re.ASCII)
    suffix = found[0] if found else ""
    return cut(clean.removesuffix(suffix), _LONGEST - len(suffix)) + suffix


def cut(text: str, size: int) -> str:
    """Cut a text to a number of bytes in UTF-8, between two characters.

    Parameters
    ----------
    text : str
    size : int
        Bytes at most.

    Returns
    -------
    str
    """
    return text.encode()[:size].decode("utf-8", "ignore")
