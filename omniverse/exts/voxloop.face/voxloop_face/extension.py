"""The shell around Face that needs Kit: settings, the stage, events."""

from __future__ import annotations

import os
from typing import Any

import carb
import carb.settings
import omni.ext
import omni.usd

from voxloop_face.events import EMOTION, START, STOP, observe, value
from voxloop_face.face import Face
from voxloop_face.feed import Aurora

SETTINGS = "/exts/voxloop.face"


class VoxloopFace(omni.ext.IExt):
    def on_startup(self, ext_id: str) -> None:
        settings = carb.settings.get_settings()

        def text(name: str) -> str:
            return settings.get_as_string(f"{SETTINGS}/{name}") or ""

        aurora = Aurora(text("url"), text("session"), os.environ.get("VOXLOOP_AURORA_KEY", ""))
        context = omni.usd.get_context()
        self._autostart = settings.get_as_bool(f"{SETTINGS}/autostart")
        self._face = Face(
            aurora, context.get_stage, text("prim"), lambda line: carb.log_warn(f"[{ext_id}] {line}")
        )
        self._subscriptions = observe(
            {
                START: lambda _: self._face.start(),
                STOP: lambda _: self._face.stop(),
                EMOTION: self._emotion,
            }
        )
        self._subscriptions += self._observe_stage(context)
        if self._autostart and context.get_stage() is not None:
            self._face.start()

    def on_shutdown(self) -> None:
        self._subscriptions = []
        self._face.stop()

    def _emotion(self, event: Any) -> None:
        self._face.emotion(str(value(event, "name", "neutral")), float(value(event, "strength", 1.0)))

    def _observe_stage(self, context: Any) -> list[Any]:
        """A pose belongs to its stage: it ends before the stage closes."""
        kinds = omni.usd.StageEventType
        if hasattr(context, "stage_event_name"):
            return observe(
                {
                    context.stage_event_name(kinds.OPENED): lambda _: self._opened(),
                    context.stage_event_name(kinds.CLOSING): lambda _: self._face.stop(),
                }
            )
        stream = context.get_stage_event_stream()
        return [
            stream.create_subscription_to_pop_by_type(int(kinds.OPENED), lambda _: self._opened()),
            stream.create_subscription_to_pop_by_type(int(kinds.CLOSING), lambda _: self._face.stop()),
        ]

    def _opened(self) -> None:
        if self._autostart:
            self._face.start()
