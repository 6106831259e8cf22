"""Our description of Audio2Face's wire says what NVIDIA's own says: paths, names, numbers and types.

audio2face_wire.txt holds theirs, read once from the descriptors in nvidia-ace 1.0.0 and
nvidia-audio2face-3d 1.3.0 with `rendered` below, so that no test needs those packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

from shared.wire.audio2face import (
    animation_pb2,
    audio_pb2,
    controller_pb2,
    export_config_pb2,
    messages_pb2,
    status_pb2,
)

OURS = (audio_pb2, status_pb2, animation_pb2, messages_pb2, controller_pb2, export_config_pb2)
TYPES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}
Part = tuple[str, list[str]]


def rendered(files: Iterable[FileDescriptor]) -> list[str]:
    """A line for each message and its fields, enum and its values, and call; in order of full names."""
    return [line for _, lines in sorted(part for file in files for part in _parts(file)) for line in lines]


def _parts(file: FileDescriptor) -> Iterator[Part]:
    for message in file.message_types_by_name.values():
        yield from _message(message)
    for enum in file.enum_types_by_name.values():
        yield _enum(enum)
    for service in file.services_by_name.values():
        for method in service.methods:
            yield method.full_name, [_method(service.full_name, method)]


def _message(message: Descriptor) -> Iterator[Part]:
    fields = [f"  {field.number} {field.name} {_type(field)}" for field in message.fields]
    yield message.full_name, [f"message {message.full_name}", *fields]
    for enum in message.enum_types:
        yield _enum(enum)
    for nested in message.nested_types:
        yield from _message(nested)


def _enum(enum: EnumDescriptor) -> Part:
    return enum.full_name, [
        f"enum {enum.full_name}",
        *(f"  {value.number} {value.name}" for value in enum.values),
    ]


def _type(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    kind = named.full_name if named else TYPES[field.type]
    if field.is_repeated:
        return f"repeated {kind}"
    # proto3's `optional` is a oneof of one field, whose name begins with an underscore
    return f"{kind} in {field.containing_oneof.name}" if field.containing_oneof else kind


def _method(service: str, method: MethodDescriptor) -> str:
    asks = "stream " * method.client_streaming + method.input_type.full_name
    answers = "stream " * method.server_streaming + method.output_type.full_name
    return f"rpc /{service}/{method.name} {asks} -> {answers}"


def test_every_path_name_number_and_type_is_nvidias() -> None:
    theirs = (Path(__file__).parent / "audio2face_wire.txt").read_text().splitlines()
    assert rendered(module.DESCRIPTOR for module in OURS) == theirs
