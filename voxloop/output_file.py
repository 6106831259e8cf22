"""Files that an operator asks for: whether they can be written is known before the work, not after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import InputError


def check_writable(file: Path) -> None:
    """Raises InputError; leaves no file behind that was not there."""
    with writing(file):
        existed = file.exists()
        file.open("ab").close()
        if not existed:
            file.unlink()


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """What the system says against `file` becomes an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror or error})") from None
