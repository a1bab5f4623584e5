"""The C interface from Python without the rekur package: the shared library and the standard library do.

    python ctypes_call.py PREFIX/lib/librekur.so models/forecaster.safetensors models/weather.csv [models/forecast.csv]

It streams the last 72 hours of readings, as the other examples do, and with a fourth file compares itself with what
rekur's Python forecast there.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from pathlib import Path

HOURS = 72


class TensorInfo(ctypes.Structure):
    """``rekur_tensor_info``."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("dims", ctypes.c_int64 * 8),
        ("rank", ctypes.c_int32),
        ("dtype", ctypes.c_int32),
        ("reserved", ctypes.c_int64 * 2),
    ]


def open_library(path: str) -> ctypes.CDLL:
    """The library, with the types of what is called here: ctypes would take pointers for ints."""
    library = ctypes.CDLL(path)
    handle, floats = ctypes.c_void_p, ctypes.POINTER(ctypes.c_float)
    for name, result, *arguments in (
        ("rekur_version", ctypes.c_char_p),
        ("rekur_isa", ctypes.c_char_p),
        ("rekur_last_error", ctypes.c_char_p),
        ("rekur_model_load", ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(handle)),
        ("rekur_model_free", None, handle),
        ("rekur_stream_create", ctypes.c_int, handle, ctypes.c_int64, ctypes.POINTER(handle)),
        ("rekur_stream_output", ctypes.c_int, handle, ctypes.c_size_t, ctypes.POINTER(TensorInfo)),
        ("rekur_stream_step", ctypes.c_int, handle, floats, floats),
        ("rekur_stream_free", None, handle),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Stream:
    """One live sequence."""

    def __init__(self, library: ctypes.CDLL, path: str) -> None:
        self._library, self._stream = library, ctypes.c_void_p()
        model = ctypes.c_void_p()
        self._check(library.rekur_model_load(path.encode(), ctypes.byref(model)))
        try:
            self._check(library.rekur_stream_create(model, 1, ctypes.byref(self._stream)))
        finally:
            library.rekur_model_free(model)  # the stream has the weights
        info = TensorInfo()
        self._check(library.rekur_stream_output(self._stream, 0, ctypes.byref(info)))
        self._x = (ctypes.c_float * 1)()
        self._y = (ctypes.c_float * info.dims[1])()

    def step(self, value: float) -> list[float]:
        self._x[0] = value
        self._check(self._library.rekur_stream_step(self._stream, self._x, self._y))
        return list(self._y)

    def close(self) -> None:
        self._library.rekur_stream_free(self._stream)
        self._stream = ctypes.c_void_p()

    def _check(self, code: int) -> None:
        if code != 0:
            raise RuntimeError(self._library.rekur_last_error().decode())


def bits(row: list[float]) -> bytes:
    return struct.pack(f"{len(row)}f", *row)


def main(library_path: str, model: str, readings: str, forecast: str | None = None) -> int:
    library = open_library(library_path)
    isa = library.rekur_isa().decode()
    print(f"rekur {library.rekur_version().decode()} on {isa}")
    values = [float(line.rpartition(",")[2]) for line in Path(readings).read_text().splitlines()[1:]][-HOURS:]
    stream = Stream(library, model)
    made = [stream.step(value) for value in values]
    stream.close()
    print(f"now {values[-1]:.1f}, then", *(f"{value:.1f}" for value in made[-1]))
    if forecast is None:
        return 0
    said, *rows = Path(forecast).read_text().splitlines()
    theirs = [[float(value) for value in row.split(",")] for row in rows]
    largest = max(abs(a - b) for ours, row in zip(made, theirs, strict=True) for a, b in zip(ours, row, strict=True))
    same_bits = all(bits(ours) == bits(row) for ours, row in zip(made, theirs, strict=True))
    print(f"Python's forecast: {'the same bits' if same_bits else f'different by at most {largest:g} °C'}")
    return 0 if same_bits or (not said.endswith(f"isa {isa}") and largest < 1e-4) else 1


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
