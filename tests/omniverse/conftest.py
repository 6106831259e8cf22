"""A character as one buys it: a skeleton, and a head with blend shapes in another spelling than ours."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pxr import Gf, Usd, UsdGeom, UsdSkel

ROOT = "/World/Ada"
MESH = f"{ROOT}/Head"


def skeleton(stage: Usd.Stage, root: str) -> None:
    UsdSkel.Root.Define(stage, root)
    joints = UsdSkel.Skeleton.Define(stage, f"{root}/Skeleton")
    joints.CreateJointsAttr(["head"])
    joints.CreateBindTransformsAttr([Gf.Matrix4d(1)])
    joints.CreateRestTransformsAttr([Gf.Matrix4d(1)])


def head(stage: Usd.Stage, root: str, shapes: Sequence[str]) -> UsdGeom.Mesh:
    """One triangle; each shape pulls its first point down by one."""
    mesh = UsdGeom.Mesh.Define(stage, f"{root}/Head")
    mesh.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (0, 1, 0)])
    mesh.CreateFaceVertexCountsAttr([3])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2])
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets([f"{root}/Skeleton"])
    binding.CreateBlendShapesAttr(shapes)
    for name in shapes:
        shape = UsdSkel.BlendShape.Define(stage, f"{root}/Head/{name}")
        shape.CreateOffsetsAttr([(0, -1, 0)])
        shape.CreatePointIndicesAttr([0])
        binding.CreateBlendShapeTargetsRel().AddTarget(shape.GetPath())
    return mesh


def posed_height(stage: Usd.Stage, root: str = ROOT) -> float:
    """Where the skinned mesh has its first point, on a copy: baking writes."""
    copy = Usd.Stage.Open(stage.Flatten())
    assert UsdSkel.BakeSkinning(UsdSkel.Root.Get(copy, root), Gf.Interval(0, 0))
    points = UsdGeom.Mesh.Get(copy, f"{root}/Head").GetPointsAttr()
    return float(points.Get(Usd.TimeCode.EarliestTime())[0][1])


@pytest.fixture
def stage() -> Usd.Stage:
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.Xform.Define(stage, "/World")
    skeleton(stage, ROOT)
    head(stage, ROOT, ["jawOpen", "mouth_close"])
    return stage
