"""What generated stubs say of their wire, as JSON by full names: run with the Python that has them.

    python wire_descriptors.py PACKAGE…

It needs protobuf alone: one such script describes our stubs and NVIDIA's, each with its own Python.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    ServiceDescriptorProto,
)
from google.protobuf.json_format import MessageToDict

Part = DescriptorProto | EnumDescriptorProto | ServiceDescriptorProto
Wire = dict[str, Any]


def wire(files: Iterable[FileDescriptor]) -> Wire:
    """Each message, enum and service as its file declares it: fields, numbers, types, labels, oneofs."""
    return {
        f"{kind} {file.package}.{part.name}": MessageToDict(part)
        for file in map(_declared, files)
        for kind, part in _parts(file)
    }


def _declared(file: FileDescriptor) -> FileDescriptorProto:
    declared = FileDescriptorProto()
    file.CopyToProto(declared)
    return declared


def _parts(file: FileDescriptorProto) -> Iterator[tuple[str, Part]]:
    yield from (("message", message) for message in file.message_type)
    yield from (("enum", enum) for enum in file.enum_type)
    for service in file.service:
        for method in service.method:
            if not method.options.ByteSize():  # `rpc … {}` and `rpc …;` say the same
                method.ClearField("options")
        yield "service", service


def files_of(package: str) -> Iterator[FileDescriptor]:
    """Of every module with stubs in it."""
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        if module.name.endswith("_pb2"):
            yield import_module(module.name).DESCRIPTOR


if __name__ == "__main__":
    json.dump(wire(file for package in sys.argv[1:] for file in files_of(package)), sys.stdout)
