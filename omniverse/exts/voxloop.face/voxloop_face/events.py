"""Events by name: through carb.eventdispatcher where Kit has it, through the older message bus elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import carb.events
import omni.kit.app

try:
    from carb.eventdispatcher import get_eventdispatcher
except ImportError:
    get_eventdispatcher = None

START = "voxloop.face:start"
STOP = "voxloop.face:stop"
EMOTION = "voxloop.face:emotion"
"""With `name` (joy, sadness, …, neutral) and, if not 1.0, `strength`."""

Handler = Callable[[Any], None]


def observe(handlers: Mapping[str, Handler]) -> list[Any]:
    """Subscriptions, which end when they are let go. dispatch_event and omni.kit.app.queue_event reach them
    alike; on an older Kit, what is pushed to the message bus with carb.events.type_from_string(name)."""
    if get_eventdispatcher is None:
        return _observe_bus(handlers)
    dispatcher = get_eventdispatcher()
    return [
        dispatcher.observe_event(observer_name=f"voxloop.face/{name}", event_name=name, on_event=handler)
        for name, handler in handlers.items()
    ]


def _observe_bus(handlers: Mapping[str, Handler]) -> list[Any]:
    bus = omni.kit.app.get_app().get_message_bus_event_stream()
    return [
        bus.create_subscription_to_pop_by_type(carb.events.type_from_string(name), handler, name=name)
        for name, handler in handlers.items()
    ]


def value(event: Any, key: str, default: Any) -> Any:
    """Of either kind of event; the older kind keeps its values in a carb dictionary."""
    found = event.get(key) if hasattr(event, "get") else event.payload[key]
    return default if found is None else found
