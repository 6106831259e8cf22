"""What `voxloop model list` tells of each model."""

from __future__ import annotations

from voxloop.model_catalog import DEFAULT, Alias
from voxloop.model_state import NOVA_MINI, Downloaded, Models


def rows(known: dict[str, Alias], models: Models) -> list[dict[str, object]]:
    """Of what is built in, of each alias, and of what else is downloaded."""
    names = dict.fromkeys((DEFAULT, *known, *models.downloaded))
    return [_row(name, known.get(name), models.downloaded.get(name)) for name in names]


def _row(name: str, alias: Alias | None, have: Downloaded | None) -> dict[str, object]:
    if alias is None and have is None:
        size = round(NOVA_MINI.stat().st_size / 1e6)
        row: dict[str, object] = {
            "repo": None,
            "revision": "built in",
            "size_mb": size,
            "licence": "Apache-2.0",
        }
        return {"name": name, **row, "downloaded": True, "path": str(NOVA_MINI)}
    return {
        "name": name,
        "repo": have.repo if have else alias and alias.repo,
        "revision": have.revision if have else alias and alias.revision,
        "size_mb": max(1, round(have.size / 1e6)) if have else alias and alias.size_mb,
        "licence": alias.licence if alias else "see its card",
        "downloaded": bool(have and have.path.exists()),
        "path": str(have.path) if have else None,
    }
