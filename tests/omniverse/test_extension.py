"""The shell, as far as it goes without Kit: its manifest, and the two ways of its events.

Kit's modules stand in here with the calls that its documentation names; that Kit itself loads the extension
only Kit can show.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pxr import Usd

FOLDER = Path(__file__).resolve().parents[2] / "omniverse" / "exts" / "voxloop.face"
Handler = Callable[[Any], None]


@dataclass
class Event:
    """Of the dispatcher: reads like a dictionary."""

    values: Mapping[str, Any]

    def get(self, key: str) -> Any:
        return self.values.get(key)


@dataclass
class BusEvent:
    """Of the message bus."""

    payload: Mapping[str, Any]


@dataclass
class Kit:
    """An application with one open stage; `new` has the event dispatcher."""

    new: bool
    stage: Usd.Stage | None
    settings: dict[str, Any] = field(default_factory=dict)
    handlers: dict[Any, Handler] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def observe_event(self, *, observer_name: str, event_name: str, on_event: Handler) -> object:
        self.handlers[event_name] = on_event
        return object()

    def create_subscription_to_pop_by_type(self, kind: Any, handler: Handler, name: str = "") -> object:
        self.handlers[kind] = handler
        return object()

    def send(self, name: str, /, **values: Any) -> None:
        self.handlers[name]((Event if self.new else BusEvent)(_Default(values)))

    def get_stage(self) -> Usd.Stage | None:
        return self.stage

    def get_stage_event_stream(self) -> Kit:
        return self

    get_as_string = get_as_bool = lambda self, path: self.settings[path]

    def modules(self) -> dict[str, ModuleType]:
        context: Any = self
        if self.new:
            context = type("Context", (), {"get_stage": self.get_stage, "stage_event_name": str})()
        kinds = type("StageEventType", (), {"OPENED": 2, "CLOSING": 3})
        app = _module("omni.kit.app", get_app=lambda: self)
        usd = _module("omni.usd", get_context=lambda: context, StageEventType=kinds)
        events = _module("carb.events", type_from_string=lambda name: name)
        settings = _module("carb.settings", get_settings=lambda: self)
        ext = _module("omni.ext", IExt=object)
        carb = _module("carb", log_warn=self.said.append, events=events, settings=settings)
        kit = _module("omni.kit", app=app)
        omni = _module("omni", kit=kit, ext=ext, usd=usd)
        found = [app, usd, events, settings, ext, carb, kit, omni]
        if self.new:
            found.append(_module("carb.eventdispatcher", get_eventdispatcher=lambda: self))
        return {module.__name__: module for module in found}

    def get_message_bus_event_stream(self) -> Kit:
        return self


class _Default(dict[str, Any]):
    def __missing__(self, key: str) -> None:
        return None


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = []
    vars(module).update(content)
    return module


def loaded(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The extension that the manifest names, with the manifest's settings."""
    manifest = tomllib.loads((FOLDER / "config" / "extension.toml").read_text())
    for name, value in manifest["settings"]["exts"]["voxloop.face"].items():
        kit.settings.setdefault(f"/exts/voxloop.face/{name}", value)
    for name, module in kit.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    (declared,) = manifest["python"]["module"]
    for name in (declared["name"], "voxloop_face.events"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(declared["name"])
    (extension,) = [kind for kind in vars(module).values() if hasattr(kind, "on_startup")]
    return extension()


@pytest.mark.parametrize("new", [True, False], ids=["dispatcher", "message bus"])
async def test_events_start_stop_and_move_the_face(
    stage: Usd.Stage, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    kit = Kit(new, stage, {"/exts/voxloop.face/autostart": False})
    extension = loaded(kit, monkeypatch)
    extension.on_startup("voxloop.face-0.1.0")
    face = extension._face
    assert not face.running
    kit.send("voxloop.face:start")
    assert face.running
    kit.send("voxloop.face:emotion", name="joy", strength=0.5)
    assert face._emotions == {"joy": 0.5}
    kit.send("voxloop.face:emotion", name="fear")
    assert face._emotions == {"fear": 1.0}
    kit.send("voxloop.face:stop")
    assert not face.running
    kit.send("voxloop.face:start")
    extension.on_shutdown()
    assert not face.running
    assert not stage.GetSessionLayer().subLayerPaths


@pytest.mark.parametrize("new", [True, False], ids=["dispatcher", "message bus"])
async def test_the_face_comes_and_goes_with_the_stage(
    stage: Usd.Stage, monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    kit = Kit(new, None)
    extension = loaded(kit, monkeypatch)
    extension.on_startup("voxloop.face-0.1.0")
    opened, closing = ("2", "3") if new else (2, 3)
    kit.stage = stage
    kit.handlers[opened](None)
    assert extension._face.running
    kit.handlers[closing](None)
    assert not extension._face.running
    assert not kit.said
    extension.on_shutdown()


def test_the_manifest_names_files_that_are_there() -> None:
    package = tomllib.loads((FOLDER / "config" / "extension.toml").read_text())["package"]
    assert (FOLDER / package["readme"]).is_file()
    assert f"[{package['version']}]" in (FOLDER / package["changelog"]).read_text()
