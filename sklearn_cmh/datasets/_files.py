"""Files in the data home: whole or not there at all."""

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from sklearn.datasets import get_data_home

__all__ = ["DataHome", "keep_file", "open_home"]

DataHome = str | os.PathLike[str] | None
"""The parameter `data_home`."""


def open_home(data_home: DataHome) -> Path:
    """Folder of the data home, made if it is not there; where that fails, its path all the same.

    Whether anything can be kept there shows when it is written.
    """
    try:
        return Path(get_data_home(data_home))
    except OSError:
        home = data_home or os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")
        return Path(home).expanduser()


def keep_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside `path` and rename it: a reader finds the whole file or none.

    Where it cannot be written, nothing is left and a warning says so: the caller has the
    data.
    """
    part = None
    try:
        part = NamedTemporaryFile(dir=path.parent, prefix=path.name + ".part_", delete=False)
        with part:
            write(part)
        os.replace(part.name, path)
    except OSError as error:
        _remove(part)
        warnings.warn(
            f"{path.name} cannot be kept in {path.parent} ({error}), and is made anew next time. "
            "Make room there, or pass the data_home of a folder that can be written to.",
            stacklevel=4,
        )
    except BaseException:
        _remove(part)
        raise


def _remove(part):
    if part is None:
        return
    # On a full disk, closing fails too, as it writes what is left.
    with suppress(OSError):
        part.close()
    with suppress(OSError):
        os.unlink(part.name)
