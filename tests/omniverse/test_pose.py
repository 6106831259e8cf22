"""The live pose on a stage of usd-core: what moves, what is left alone, and that no trace remains."""

from __future__ import annotations

import pytest
from pxr import Usd, UsdSkel

from tests.omniverse.conftest import MESH, ROOT, head, posed_height, skeleton
from voxloop_face.pose import LivePose, NoFace

NAMES = ["MouthClose", "JawOpen", "TongueOut"]


def test_a_skinned_mesh_follows_frames_whatever_its_names_spelling(stage: Usd.Stage) -> None:
    pose = LivePose(stage)
    pose.named(NAMES)
    pose.show([0.0, 0.5, 1.0])
    assert posed_height(stage) == pytest.approx(-0.5)
    pose.show([0.25, 0.5, 0.0])
    assert posed_height(stage) == pytest.approx(-0.75)
    pose.rest()
    assert posed_height(stage) == 0


def test_nothing_is_written_where_it_would_be_saved_and_close_leaves_no_trace(stage: Usd.Stage) -> None:
    root, whole = stage.GetRootLayer().ExportToString(), stage.Flatten().ExportToString()
    session = stage.GetSessionLayer().ExportToString()
    pose = LivePose(stage)
    pose.named(NAMES)
    pose.show([0.0, 1.0, 0.0])
    assert stage.GetRootLayer().ExportToString() == root
    assert posed_height(stage) == -1
    pose.close()
    pose.close()
    assert stage.GetRootLayer().ExportToString() == root
    assert stage.GetSessionLayer().ExportToString() == session
    assert stage.Flatten().ExportToString() == whole


def test_the_animation_of_a_body_goes_on_and_its_correctives_stay(stage: Usd.Stage) -> None:
    body = UsdSkel.Animation.Define(stage, f"{ROOT}/Walk")
    body.CreateJointsAttr(["head"])
    body.CreateTranslationsAttr([(0, 0, 5)])
    body.CreateBlendShapesAttr(["elbow", "jawOpen"])
    body.CreateBlendShapeWeightsAttr().Set([0.5, 0.125], 1)
    binding = UsdSkel.BindingAPI.Apply(stage.GetPrimAtPath(ROOT))
    binding.CreateAnimationSourceRel().SetTargets([body.GetPath()])
    pose = LivePose(stage)
    pose.named(NAMES)
    pose.show([0.0, 0.75, 0.0])
    query = UsdSkel.Cache().GetAnimQuery(body)
    assert dict(zip(query.GetBlendShapeOrder(), query.ComputeBlendShapeWeights(1), strict=True)) == {
        "elbow": 0.5, "jawOpen": 0.75, "mouth_close": 0.0,
    }  # fmt: skip
    assert body.GetTranslationsAttr().Get()[0][2] == 5
    pose.rest()
    assert list(body.GetBlendShapeWeightsAttr().Get(1)) == [0.5, 0.125, 0.0]
    pose.close()
    assert list(body.GetBlendShapeWeightsAttr().Get(1)) == [0.5, 0.125]


@pytest.mark.parametrize("prim", ["", "/World/Bob", "/World/Bob/Skeleton"])
def test_all_faces_move_or_the_one_that_was_named(stage: Usd.Stage, prim: str) -> None:
    skeleton(stage, "/World/Bob")
    head(stage, "/World/Bob", ["JawOpen"])
    pose = LivePose(stage, prim)
    pose.named(NAMES)
    pose.show([0.0, 1.0, 0.0])
    assert posed_height(stage, "/World/Bob") == -1
    assert posed_height(stage) == (0 if prim else -1)


@pytest.mark.parametrize("prim", ["", "/World/Nobody", MESH])
def test_where_there_is_no_face_it_is_said_what_is_missing(stage: Usd.Stage, prim: str) -> None:
    stage.GetPrimAtPath(MESH).RemoveProperty("skel:blendShapes")
    with pytest.raises(NoFace, match="bound to a skeleton"):
        LivePose(stage, prim)
    assert not stage.GetSessionLayer().subLayerPaths


def test_frames_before_their_names_move_nothing(stage: Usd.Stage) -> None:
    pose = LivePose(stage)
    pose.show([1.0, 1.0])
    assert posed_height(stage) == 0
