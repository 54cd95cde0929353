"""Everything recon3d raises.

::

    Recon3DError(message, hint)      hint says what to do next, always
    ├ InputError                     unreadable, unsupported or too little input; names the file
    ├ ProjectError                   the folder is not a project, is locked, or is of a newer version
    ├ OptionError                    unknown preset or option
    ├ EngineUnavailable              a missing extra, no CUDA
    ├ StageError(stage)              anything unexpected; cause chained, tail of the log attached
    │ ├ ReconstructionError          the images do not allow a model
    │ │ ├ NoInitialPair
    │ │ └ TooFewViews
    │ └ OutOfMemory                  a task needs more memory than the machine has
    └ Cancelled
"""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    """Make a text that holds a file's name printable.

    Names of files are bytes. Python keeps those that are not UTF-8 as lone surrogates, which no
    terminal, no JSON and no web page takes.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        With such bytes written as in ``M\\xfcller.jpg``, and control characters as in ``a\\nb``.
    """
    try:
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(repr(c)[1:-1] if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


class Recon3DError(Exception):
    """Base of all errors of recon3d.

    Parameters
    ----------
    message : str
        What went wrong; names the file, the view or the option.
    hint : str
        What to do next.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        message = printable(message)
        super().__init__(message)
        self.message = message
        self.hint = printable(hint)

    def __str__(self) -> str:
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only or renamed arguments do not pickle by themselves, and
        # these travel from the worker processes.
        return (_rebuild, (type(self), self.args, self.__dict__))


class InputError(Recon3DError):
    """The input cannot be read, is not supported, or is too little.

    Parameters
    ----------
    message, hint : str
        See `Recon3DError`.
    """


class ProjectError(Recon3DError):
    """The project's folder cannot be used as asked.

    Parameters
    ----------
    message, hint : str
        See `Recon3DError`.
    """


class OptionError(Recon3DError):
    """A preset, stage or option does not exist, or a value is outside its range.

    Parameters
    ----------
    message, hint : str
        See `Recon3DError`.
    """


class EngineUnavailable(Recon3DError):
    """A requested part is not installed, or its device is missing.

    Parameters
    ----------
    message, hint : str
        See `Recon3DError`.
    """


class StageError(Recon3DError):
    """A stage failed.

    Parameters
    ----------
    message, hint : str
        See `Recon3DError`.
    stage : str
        Name of the stage; filled in by the pipeline when a stage leaves it empty.
    log_tail : str
        The last lines that the worker processes logged.
    """

    def __init__(self, message: str, hint: str = "", *, stage: str = "", log_tail: str = "") -> None:
        super().__init__(message, hint)
        self.stage = stage
        self.log_tail = log_tail


class ReconstructionError(StageError):
    """The images are readable but do not allow a reconstruction.

    Parameters
    ----------
    message, hint, stage, log_tail : str
        See `StageError`.
    """


class NoInitialPair(ReconstructionError):
    """No two images share enough matches to start from."""


class TooFewViews(ReconstructionError):
    """Fewer images could be placed than a model needs."""


class OutOfMemory(StageError):
    """A task ran out of memory; the stages answer it with a lower resolution."""


class Cancelled(Recon3DError):
    """The run was cancelled; finished stages are kept.

    Parameters
    ----------
    message, hint : str
        See `Recon3DError`.
    """

    def __init__(
        self, message: str = "The run was cancelled.", hint: str = "Run the same command again to resume."
    ) -> None:
        super().__init__(message, hint)


def _rebuild(cls: type[Recon3DError], args: tuple[object, ...], state: dict[str, object]) -> Recon3DError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error
