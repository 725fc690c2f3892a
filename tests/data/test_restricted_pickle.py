from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rung.data.restricted_pickle import RefusedPickle, load_dictionary

BATCH = {"data": np.arange(12, dtype=np.uint8).reshape(2, 6), "labels": [1, 0], "filenames": ["a.png", "b.png"]}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays_come_back(protocol: int) -> None:
    if protocol == 5:
        pytest.skip("NumPy writes arrays differently in protocol 5, which the archives do not use")
    read = load_dictionary(pickle.dumps(BATCH, protocol))
    assert np.array_equal(read["data"], BATCH["data"])
    assert read["data"].dtype == np.uint8
    assert read["labels"] == [1, 0]


def test_fortran_order() -> None:
    values = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert np.array_equal(load_dictionary(pickle.dumps({"data": values}, 2))["data"], values)


def test_the_form_that_python_2_wrote() -> None:
    written = (
        b"(dp0\nS'data'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntS'b'\ntRp4\n"
        b"(I1\n(I1\nI3\ntcnumpy\ndtype\np5\n(S'u1'\nI0\nI1\ntRp6\n(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x01\\xff\\x00'\n"
        b"tbsS'labels'\n(lI7\nas."
    )
    read = load_dictionary(written)
    assert read["data"].tolist() == [[1, 255, 0]]
    assert read["labels"] == [7]


class Evil:
    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> object:
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Evil(os.system, "exit 1"),
        Evil(eval, "1"),
        Evil(subprocess.Popen, "false"),
        Evil(getattr, "a", "upper"),
        Evil(np.frombuffer, b"a"),
        OrderedDict(),
        Evil(print, "x"),
        np.float64(1),
        np.array(["text"]),
        np.array([1.0]),
        np.array([object()]),
    ],
)
def test_everything_else_is_refused(value: object) -> None:
    for protocol in (0, 2, 4):
        with pytest.raises(RefusedPickle):
            load_dictionary(pickle.dumps({"data": value}, protocol))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"N.",
        b"]q\x00.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.",
        b"r\xff\xff\xff\x7f.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"cnumpy\nndarray\n}(S'x'\nI1\nub.",
        b"c_codecs\nencode\n}S'__defaults__'\nNsb.",
        b"Pid\n.",
        b"cnumpy\ndtype\n(S'O'\ntR.",
    ],
)
def test_damaged_and_hostile_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(RefusedPickle):
        load_dictionary(content)


def test_array_whose_shape_does_not_fit() -> None:
    written = pickle.dumps({"data": np.zeros((2, 3), np.uint8)}, 0).replace(b"I3\nt", b"I4\nt", 1)
    assert b"I4" in written
    with pytest.raises(RefusedPickle):
        load_dictionary(written)


@given(st.data())
def test_no_damage_gets_past(data: st.DataObject) -> None:
    content = bytearray(pickle.dumps(BATCH, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RefusedPickle):
        load_dictionary(bytes(content))


def bomb(ending: bytes) -> bytes:
    """A tuple of two tuples of two tuples …, 100 levels deep, and then ``ending``."""
    return b"})" + b"".join(b"2\x86" for _ in range(100)) + ending


@pytest.mark.parametrize(
    "content",
    [
        bomb(b"K\x01s."),
        b"}(" + bomb(b"")[1:] + b"K\x01u.",
        b"(" + bomb(b"")[1:] + b"K\x01d.",
        b"\x8f(" + bomb(b"")[1:] + b"\x90.",
        b"(" + bomb(b"")[1:] + b"\x91.",
    ],
)
def test_what_would_take_forever_to_be_hashed_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedPickle):
        load_dictionary(content)


def test_no_memory_is_reserved_for_bytes_that_are_not_there() -> None:
    with pytest.raises(RefusedPickle):
        load_dictionary(b"\x96" + (2**40).to_bytes(8, "little") + b".")
