"""Make shared/wire/ from proto/: `.venv/bin/python proto/generate.py`. `--check` only compares."""

from __future__ import annotations

import filecmp
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
WIRE = ROOT / "shared" / "wire"


def generate(target: Path) -> None:
    protos = sorted((ROOT / "proto").rglob("*.proto"))
    names = [f"shared/wire/{path.relative_to(ROOT / 'proto')}" for path in protos]
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    bin_folder = Path(sys.executable).parent
    plugins = [f"--plugin=protoc-gen-{kind}={bin_folder}/protoc-gen-{kind}" for kind in ("mypy", "mypy_grpc")]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    # The virtual folder makes the stubs import each other as shared.wire.…
    if (
        protoc.main(
            ["protoc", f"-Ishared/wire={ROOT / 'proto'}", f"-I{well_known}", *plugins, *outputs, *names]
        )
        != 0
    ):
        raise SystemExit(1)
    for folder in {path.parent for path in (target / "shared" / "wire").rglob("*.py")}:
        (folder / "__init__.py").touch()
    (target / "shared" / "wire" / "__init__.py").touch()


def stale() -> list[str]:
    """Generated files that differ from, or are missing in, shared/wire/."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = Path(scratch) / "shared" / "wire"
        return [
            str(path.relative_to(fresh))
            for path in sorted(fresh.rglob("*.py*"))
            if not (WIRE / path.relative_to(fresh)).exists()
            or not filecmp.cmp(path, WIRE / path.relative_to(fresh), shallow=False)
        ]


if __name__ == "__main__":
    if "--check" in sys.argv:
        outdated = stale()
        print("\n".join(outdated) or "shared/wire is up to date")
        raise SystemExit(bool(outdated))
    generate(ROOT)
