"""What Python's arguments become on their way to the library."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fptq.errors import InputError

Progress = Callable[[str, int, int], Any]
StrPath = str | os.PathLike[str]
Tokens = Sequence[int] | np.ndarray
"""Token ids: a list, or whatever has one dimension and becomes a NumPy array, e.g. a tensor of torch."""


def filled(options: Any, what: str, values: dict[str, Any]) -> Any:
    """`options` with its attributes set. InputError if there is none of a name."""
    for name, value in values.items():
        if not hasattr(options, name):
            known = ", ".join(n for n in dir(options) if not n.startswith("_"))
            raise InputError(f"{what}: expected one of {known}; found '{name}'")
        setattr(options, name, value)
    return options


def token_array(tokens: Tokens) -> np.ndarray:
    """int32 [tokens]; not copied if they are that already. InputError if they are no token ids."""
    array = np.asarray(tokens)
    if array.size == 0:
        array = array.astype(np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"tokens: expected integers in one dimension, found {array.dtype} of shape {array.shape}"
        )
    if array.dtype != np.int32 and array.size and not 0 <= array.min() <= array.max() < 2**31:
        raise InputError(f"tokens: expected ids, found {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=np.int32)


def is_single(prompts: Any) -> bool:
    """Whether it is one text or one sequence of tokens, not several."""
    if isinstance(prompts, str):
        return True
    if hasattr(prompts, "ndim"):
        return prompts.ndim == 1
    return len(prompts) > 0 and isinstance(prompts[0], (int, np.integer))


def progress_bar() -> Progress | None:
    """A bar by tqdm for each stage, if that is installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    bars: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[stage] = tqdm(total=total, desc=stage)
        bar = bars[stage]
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.refresh()

    return show


def callback(progress: Progress | bool | None) -> Progress | None:
    return progress_bar() if progress is True else progress or None
