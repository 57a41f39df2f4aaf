"""Breaking weights that are stored as plain numbers, in place."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.weights import TensorInfo
from aprqa_ci.selftest.transforms.place import (
    NotApplicableError,
    matching,
    one_file,
    tensors_of,
)

__all__ = ["swap_tensors", "tensor"]

_Array = npt.NDArray[Any]
_TYPES: Final[Mapping[str, str]] = {"F16": "<f2", "F32": "<f4"}


def tensor(
    directory: Path,
    *,
    file: str,
    name: str,
    change: str,
    strength: float = 1.0,
    seed: int = 0,
    first: bool = True,
) -> None:
    """Change the numbers of tensors.

    Args:
        directory: the model.
        file: the weight file, a pattern.
        name: the tensors, a pattern.
        change: ``nan``, ``inf``, ``zero``, ``negate``, ``scale``, ``shift``, ``noise``,
            ``transpose``, ``rows``, ``columns``, ``halves`` or ``thirds``.
        strength: of ``scale`` the factor; of ``noise`` the deviation, and of ``shift`` the offset,
            as a part of the tensor's own deviation; of ``nan`` and ``inf`` how many numbers; of
            ``rows`` and ``columns`` the share that changes places.
        seed: of what is drawn.
        first: whether only the first tensor of that name is changed, rather than all.
    """
    path = one_file(directory, file)
    infos = tensors_of(path)
    names = matching(infos, name)
    for number, each in enumerate(names[:1] if first else names):
        view = _view(infos[each])
        _CHANGES[change](view, strength, np.random.default_rng(seed + number))
        view.flush()


def swap_tensors(directory: Path, *, file: str, first: str, second: str) -> None:
    """Exchange the contents of tensors whose names begin in two ways, whatever they are stored as.

    Raises:
        NotApplicableError: there are none, or not as many bytes in one as in the other.
    """
    path = one_file(directory, file)
    infos = tensors_of(path)
    data = bytearray(path.read_bytes())
    for name in matching(infos, f"{first}*"):
        here, there = infos[name], infos.get(second + name.removeprefix(first))
        if there is None or there.nbytes != here.nbytes:
            what = f"{name} has no counterpart that it could be exchanged with"
            raise NotApplicableError(what)
        ours = slice(here.offset, here.offset + here.nbytes)
        theirs = slice(there.offset, there.offset + there.nbytes)
        data[ours], data[theirs] = data[theirs], data[ours]
    path.write_bytes(data)


def _view(info: TensorInfo) -> np.memmap[Any, Any]:
    kind = _TYPES.get(info.dtype)
    if kind is None:
        what = f"{info.name} is stored as {info.dtype}, and not as plain numbers"
        raise NotApplicableError(what)
    return np.memmap(info.file, dtype=kind, mode="r+", offset=info.offset, shape=info.shape)


def _fill(value: float) -> Callable[[_Array, float, np.random.Generator], None]:
    def change(values: _Array, strength: float, drawn: np.random.Generator) -> None:
        flat = values.reshape(-1)
        flat[drawn.choice(flat.size, min(int(strength), flat.size), replace=False)] = value

    return change


def _zero(values: _Array, strength: float, drawn: np.random.Generator) -> None:
    del strength, drawn
    values[:] = 0


def _scale(values: _Array, strength: float, drawn: np.random.Generator) -> None:
    del drawn
    values[:] = (values.astype(np.float32) * strength).astype(values.dtype)


def _shift(values: _Array, strength: float, drawn: np.random.Generator) -> None:
    del drawn
    wide = values.astype(np.float32)
    values[:] = (wide + strength * (wide.std() or 1.0)).astype(values.dtype)


def _noise(values: _Array, strength: float, drawn: np.random.Generator) -> None:
    wide = values.astype(np.float32)
    noise = drawn.standard_normal(wide.shape, dtype=np.float32)
    values[:] = (wide + strength * wide.std() * noise).astype(values.dtype)


def _transpose(values: _Array, strength: float, drawn: np.random.Generator) -> None:
    """Store the numbers in the order of the transposed matrix, under the same shape."""
    del strength, drawn
    values[:] = np.ascontiguousarray(values.T).reshape(values.shape)


def _moved(values: _Array, axis: int, share: float, drawn: np.random.Generator) -> None:
    count = values.shape[axis]
    places = np.sort(drawn.choice(count, max(2, int(count * share)), replace=False))
    order = np.arange(count)
    order[places] = np.roll(places, 1)
    values[:] = np.take(values, order, axis=axis)


def _rows(values: _Array, strength: float, drawn: np.random.Generator) -> None:
    _moved(values, 0, strength, drawn)


def _columns(values: _Array, strength: float, drawn: np.random.Generator) -> None:
    _moved(values, 1, strength, drawn)


def _rolled(parts: int) -> Callable[[_Array, float, np.random.Generator], None]:
    def change(values: _Array, strength: float, drawn: np.random.Generator) -> None:
        del strength, drawn
        values[:] = np.roll(values, values.shape[0] // parts, axis=0)

    return change


_CHANGES: Final[Mapping[str, Callable[[_Array, float, np.random.Generator], None]]] = {
    "nan": _fill(float("nan")),
    "inf": _fill(float("inf")),
    "zero": _zero,
    "negate": lambda values, _, drawn: _scale(values, -1.0, drawn),
    "scale": _scale,
    "shift": _shift,
    "noise": _noise,
    "transpose": _transpose,
    "rows": _rows,
    "columns": _columns,
    "halves": _rolled(2),
    "thirds": _rolled(3),
}
