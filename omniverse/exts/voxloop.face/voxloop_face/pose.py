"""The live pose on a stage: plain pxr, the same in Kit and with usd-core.

Everything is written to a layer of its own beneath the session layer: nothing of it is ever saved with the
stage, and taking the layer away restores the stage to the last value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pxr import Sdf, Usd, UsdSkel, Vt

ANIMATION = "VoxloopFace"
"""Name of the SkelAnimation beneath a skeleton that has none."""


class NoFace(Exception):
    """The stage has nothing that the face could move; the text says what was looked for."""


@dataclass(frozen=True)
class _Target:
    """The weights of one animation, its shapes in their order, and what they had before."""

    weights: Usd.Attribute
    shapes: tuple[str, ...]
    before: tuple[float, ...]
    """For the shapes that are not the face's: correctives of a body stay as they are."""


class LivePose:
    """Raises NoFace where there is nothing to move. `close` takes every trace away."""

    def __init__(self, stage: Usd.Stage, prim: str = "") -> None:
        self._stage = stage
        self._layer = Sdf.Layer.CreateAnonymous("voxloop-face")
        found = dict(_skeletons(stage, prim))
        if not found:
            where = f"beneath {prim}" if prim else "on the stage"
            raise NoFace(
                f"there is no mesh with blend shapes that is bound to a skeleton {where}; "
                "bind one with UsdSkel, or set exts/voxloop.face/prim"
            )
        stage.GetSessionLayer().subLayerPaths.insert(0, self._layer.identifier)
        with self._editing():
            self._targets = [_target(stage, path, shapes) for path, shapes in found.items()]
        self._sources: list[tuple[_Target, list[int | None]]] = []

    def named(self, names: Sequence[str]) -> None:
        """The order of the weights to come. Spelling is compared without case and underscores: `jawOpen`,
        `JawOpen` and `jaw_open` are one."""
        numbers = {_plain(name): number for number, name in enumerate(names)}
        self._sources = [(t, [numbers.get(_plain(shape)) for shape in t.shapes]) for t in self._targets]

    def show(self, weights: Sequence[float]) -> None:
        """Before `named`, nothing moves."""
        with self._editing(), Sdf.ChangeBlock():
            for target, sources in self._sources:
                pairs = zip(sources, target.before, strict=True)
                values = [before if n is None else weights[n] for n, before in pairs]
                target.weights.Set(Vt.FloatArray(values))

    def rest(self) -> None:
        """The face as the stage has it."""
        with self._editing(), Sdf.ChangeBlock():
            for target in self._targets:
                target.weights.Set(Vt.FloatArray(target.before))

    def close(self) -> None:
        paths = self._stage.GetSessionLayer().subLayerPaths
        if self._layer.identifier in paths:
            paths.remove(self._layer.identifier)

    def _editing(self) -> Usd.EditContext:
        return Usd.EditContext(self._stage, Usd.EditTarget(self._layer))


def _skeletons(stage: Usd.Stage, prim: str) -> Iterator[tuple[Sdf.Path, tuple[str, ...]]]:
    """Each skeleton with the blend shapes of the meshes that are bound to it."""
    top = stage.GetPrimAtPath(prim) if prim else stage.GetPseudoRoot()
    if not top:
        return
    if top.IsA(UsdSkel.Skeleton):  # its meshes lie beside it, not beneath
        only, top = top.GetPath(), stage.GetPseudoRoot()
    else:
        only = None
    shapes: dict[Sdf.Path, dict[str, None]] = {}
    for mesh in Usd.PrimRange(top):
        binding = UsdSkel.BindingAPI(mesh)
        names = binding.GetBlendShapesAttr().Get()
        skeleton = binding.GetInheritedSkeleton() if names else None
        if skeleton and only in (None, skeleton.GetPath()):
            shapes.setdefault(skeleton.GetPath(), {}).update(dict.fromkeys(names))
    for path, names in shapes.items():
        yield path, tuple(names)


def _target(stage: Usd.Stage, skeleton: Sdf.Path, shapes: Iterable[str]) -> _Target:
    """An animation that is there already also moves the body: only its blend shapes are written over."""
    binding = UsdSkel.BindingAPI.Apply(stage.GetPrimAtPath(skeleton))
    animation = UsdSkel.Animation(binding.GetInheritedAnimationSource())
    before: Mapping[str, float] = {}
    if animation:
        names = animation.GetBlendShapesAttr().Get() or ()
        first = animation.GetBlendShapeWeightsAttr().Get(Usd.TimeCode.EarliestTime())
        before = dict(zip(names, first or (), strict=False))
    else:
        animation = UsdSkel.Animation.Define(stage, skeleton.AppendChild(ANIMATION))
        binding.CreateAnimationSourceRel().SetTargets([animation.GetPath()])
    every = tuple(dict.fromkeys([*before, *shapes]))
    resting = tuple(before.get(name, 0.0) for name in every)
    animation.CreateBlendShapesAttr(every)
    weights = animation.CreateBlendShapeWeightsAttr(Vt.FloatArray(resting))
    return _Target(weights, every, resting)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
