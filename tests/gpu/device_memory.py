"""The memory of the first GPU: measured, and taken away."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections.abc import Iterator

from tests.gpu.rows import CheckError

#: Bytes of the GPU's memory that another program leaves.
LEFT_FREE = 64 << 20


class GpuMemory:
    """Most bytes that were in use on the first GPU, more than at the start, as its driver counts."""

    class _Memory(ctypes.Structure):
        _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))

    def __init__(self) -> None:
        self._device: ctypes.c_void_p | None = None
        self._end = threading.Event()
        self._peak = self._start = 0
        with contextlib.suppress(OSError, AttributeError):
            self._library = ctypes.CDLL("libnvidia-ml.so.1")
            device = ctypes.c_void_p()
            if not (
                self._library.nvmlInit_v2()
                or self._library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device))
            ):
                self._device = device

    def __enter__(self) -> GpuMemory:
        self._peak = self._start = self._used()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def most(self, engine: str) -> str:
        """The peak so far in words; empty where it is unknown, or not the engine's own."""
        if self._device is None or engine == "cpu":
            return ""
        return f"GPU memory {max(0, self._peak - self._start) / 1e9:.2f} GB"

    def _watch(self) -> None:
        while self._device and not self._end.wait(0.05):
            self._peak = max(self._peak, self._used())

    def _used(self) -> int:
        memory = self._Memory()
        if self._device:
            self._library.nvmlDeviceGetMemoryInfo(self._device, ctypes.byref(memory))
        return int(memory.used)


@contextlib.contextmanager
def gpu_memory_taken() -> Iterator[int]:
    """Take all of the first GPU's memory but `LEFT_FREE`; gives the bytes taken."""
    cuda = ctypes.CDLL("libcuda.so.1")
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    for code in (cuda.cuInit(0), cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0)):
        if code:
            raise CheckError(f"the CUDA driver answers {code}")
    taken, size = 0, 1 << 62
    pointer = ctypes.c_ulonglong()
    while size >= 16 << 20:
        cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        size = min(size, free.value - LEFT_FREE)
        if size <= 0:
            break
        if cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size)):
            size //= 2
        else:
            taken += size
    try:
        yield taken
    finally:
        cuda.cuCtxDestroy_v2(context)


def take_memory() -> None:
    """Take the memory, say how much, and keep it until the standard input ends."""
    with gpu_memory_taken() as taken:
        print(taken, flush=True)
        sys.stdin.read()
