"""Reading the pickles of the official CIFAR archives, and nothing else.

A pickle is a program, and a hostile one can run any code. The unpickler here can build dictionaries, lists,
tuples, text, bytes, numbers and one-byte arrays; whatever else a pickle names is refused. NumPy's own unpickling is
not reached either: arrays are rebuilt here from their checked parts.
"""

from __future__ import annotations

import io
import pickle  # nosec B403 (what it may build is restricted below)
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt


class RefusedPickle(Exception):
    """Why a pickle is not read, as the second half of a sentence."""


class _DType:
    """Stands for ``numpy.dtype``; one-byte unsigned integers are the only ones that are let through."""

    def __init__(self, code: object = None, *_: object) -> None:
        if code not in ("u1", b"u1", "uint8", b"uint8", "|u1", b"|u1"):
            raise RefusedPickle(f"it holds an array of {code!r}; only bytes are read")

    def __setstate__(self, state: object) -> None:
        """Byte order and the like, which bytes do not have."""


class _Array:
    """Stands for ``numpy.ndarray`` while one is being rebuilt."""

    def __init__(self, *_: object) -> None:
        self.values: npt.NDArray[np.uint8] = np.empty(0, np.uint8)

    def __setstate__(self, state: object) -> None:
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[2], _DType)):
            raise RefusedPickle("it holds an array in an unknown form")
        _, shape, _, fortran, content = state
        if isinstance(content, str):
            content = content.encode("latin-1")
        if not (isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)):
            raise RefusedPickle("it holds an array without a proper shape")
        size = 1
        for n in shape:
            size *= n
        if not isinstance(content, bytes) or size != len(content):
            raise RefusedPickle("it holds an array whose shape does not fit its content")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


class _NDArray:
    """Stands for the class ``numpy.ndarray`` where a pickle passes it on."""


def _latin1(text: object, encoding: object = "latin1") -> bytes:
    """What Python 3 writes for bytes in the older pickle protocols."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise RefusedPickle("it asks for an unusual text encoding")
    return text.encode("latin-1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _NDArray,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _latin1,
}


# The unpickler written in Python: the one in C can be made to reserve much memory by a few bytes.
class _Unpickler(pickle._Unpickler):  # type: ignore[misc,name-defined,unused-ignore]
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise RefusedPickle(f"it asks for {module}.{name}, which a data file has no use for") from None

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined,unused-ignore]

    def load_build(self) -> None:
        # Building sets attributes; nothing but the two stand-ins made for it may have theirs set.
        stack: list[Any] = self.stack  # type: ignore[attr-defined,unused-ignore]
        if not isinstance(stack[-2], (_Array, _DType)):
            raise RefusedPickle("it changes an object that it should not")
        super().load_build()  # type: ignore[misc,unused-ignore]

    dispatch[pickle.BUILD[0]] = load_build

    # Sets, and keys that are tuples of tuples, can take forever to be hashed; a byte array is reserved before its
    # content is there. Data files have none of them.
    for _opcode in (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.BYTEARRAY8):
        dispatch.pop(_opcode[0])

    def load_setitem(self) -> None:
        _check_key(self.stack[-2])  # type: ignore[attr-defined,unused-ignore]
        super().load_setitem()  # type: ignore[misc,unused-ignore]

    def load_setitems(self) -> None:
        for key in self.stack[::2]:  # type: ignore[attr-defined,unused-ignore]
            _check_key(key)
        super().load_setitems()  # type: ignore[misc,unused-ignore]

    def load_dict(self) -> None:
        for key in self.stack[::2]:  # type: ignore[attr-defined,unused-ignore]
            _check_key(key)
        super().load_dict()  # type: ignore[misc,unused-ignore]

    dispatch |= {pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems, pickle.DICT[0]: load_dict}

    def persistent_load(self, pid: object) -> Any:
        raise RefusedPickle("it refers to things outside itself")


def _check_key(key: object) -> None:
    if not isinstance(key, str | bytes | int):
        raise RefusedPickle(f"it has a dictionary with a {type(key).__name__} for a key")


def load_dictionary(content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle, with text keys; arrays are uint8.

    Raises:
        RefusedPickle: it is damaged, is no dictionary, or asks for anything but plain values and arrays.
    """
    try:
        value = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except RefusedPickle:
        raise
    except Exception as error:  # A damaged pickle makes the unpickler fail in any way.
        raise RefusedPickle(f"it is damaged ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise RefusedPickle("it does not hold a dictionary")
    return {
        key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key): item.values
        if isinstance(item, _Array)
        else item
        for key, item in value.items()
    }
