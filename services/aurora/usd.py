"""A recorded face as USD: what UsdSkel plays on any mesh whose blend shapes bear the same names.

    /Voxloop                      an Xform, the default prim
    /Voxloop/Face                 SkelRoot: bind a mesh beneath it to Skeleton
    /Voxloop/Face/Skeleton        one joint, which never moves, as UsdSkel demands
    /Voxloop/Face/Animation       blendShapes, and blendShapeWeights as time samples
    /Voxloop/Voice                SpatialAudio with the WAV, from time code 0

One second is `fps` time codes; a sample lies at its media time, which need not be a whole code.
Needs usd-core, the extra `record`: imported only where recordings are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Tf, Usd, UsdGeom, UsdMedia, UsdSkel, Vt

ROOT = "/Voxloop"
FACE = f"{ROOT}/Face"
SKELETON = f"{FACE}/Skeleton"
ANIMATION = f"{FACE}/Animation"
VOICE = f"{ROOT}/Voice"


class UsdFile:
    """A stage at `path` that is whole after each `append`. Every method raises OSError."""

    def __init__(self, path: Path, names: Sequence[str], fps: float, wav: str) -> None:
        """`wav` is the sound's file name beside `path`."""
        self._fps = fps
        try:
            self._stage = Usd.Stage.CreateNew(str(path))
            self._weights = _define(self._stage, names, fps, wav)
        except Tf.ErrorException as error:
            raise OSError(f"usd-core cannot write {path.name}: {_first_line(error)}") from None

    def append(self, frames: Iterable[tuple[float, Sequence[float]]], end_s: float) -> None:
        """Frames with their media times in seconds; the sound so far ends at `end_s`."""
        layer = self._stage.GetRootLayer()
        try:
            with Sdf.ChangeBlock():
                for t_s, weights in frames:
                    values = Vt.FloatArray.FromNumpy(np.asarray(weights, np.float32))
                    layer.SetTimeSample(self._weights, t_s * self._fps, values)
                layer.endTimeCode = end_s * self._fps
            UsdMedia.SpatialAudio(self._stage.GetPrimAtPath(VOICE)).GetEndTimeAttr().Set(
                Sdf.TimeCode(end_s * self._fps)
            )
            layer.Save()
        except Tf.ErrorException as error:
            raise OSError(f"usd-core cannot save: {_first_line(error)}") from None


def _define(stage: Usd.Stage, names: Sequence[str], fps: float, wav: str) -> Sdf.Path:
    stage.SetTimeCodesPerSecond(fps)
    stage.SetFramesPerSecond(fps)
    stage.SetStartTimeCode(0)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, ROOT).GetPrim())
    UsdSkel.Root.Define(stage, FACE)
    skeleton = UsdSkel.Skeleton.Define(stage, SKELETON)
    skeleton.CreateJointsAttr(["head"])
    skeleton.CreateBindTransformsAttr([Gf.Matrix4d(1)])
    skeleton.CreateRestTransformsAttr([Gf.Matrix4d(1)])
    animation = UsdSkel.Animation.Define(stage, ANIMATION)
    animation.CreateBlendShapesAttr(list(names))
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets([ANIMATION])
    voice = UsdMedia.SpatialAudio.Define(stage, VOICE)
    voice.CreateFilePathAttr(Sdf.AssetPath(f"./{wav}"))
    voice.CreateAuralModeAttr(UsdMedia.Tokens.nonSpatial)
    voice.CreatePlaybackModeAttr(UsdMedia.Tokens.onceFromStart)
    voice.CreateStartTimeAttr(Sdf.TimeCode(0))
    voice.CreateEndTimeAttr(Sdf.TimeCode(0))
    return animation.CreateBlendShapeWeightsAttr().GetPath()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
