"""A file that cannot be written is named before the work, and the question leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InputError
from voxloop.output_file import check_writable


def test_asking_changes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").write_text("kept")
    check_writable(tmp_path / "old")
    assert (tmp_path / "old").read_text() == "kept"


@pytest.mark.parametrize("name", ["nowhere/a", "", "a" * 300])
def test_what_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        check_writable(tmp_path / name)
