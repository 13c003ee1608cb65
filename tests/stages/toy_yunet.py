"""A network with YuNet's inputs and outputs, small enough to write by hand: it takes blue cells for faces.

ONNX is a protocol buffer: every field is its number and kind in one varint, then a varint or a length and bytes.
"""

import struct

STRIDES = (8, 16, 32)
SIDE_CELLS = 2.0  # side of every face in cells of its stride


def network() -> bytes:
    """The file. Of the strides only 8 ever finds anything."""
    nodes, tensors, outputs = [], [], []
    for stride in STRIDES:
        strength = 1 / (255 * stride**2) if stride == 8 else 0.0
        blue = [strength] * stride**2 + [0.0] * (2 * stride**2)
        side = struct.unpack("f", struct.pack("f", 0.6931472))[0]  # e to this is SIDE_CELLS
        for kind, weights, bias in (
            ("cls", blue, [0.0]),
            ("obj", blue, [0.0]),
            ("bbox", [0.0] * (12 * stride**2), [0.5, 0.5, side, side]),
            ("kps", [0.0] * (30 * stride**2), [0.0] * 10),
        ):
            name, channels = f"{kind}_{stride}", len(bias)
            tensors += [
                tensor(f"{name}_w", [channels, 3, stride, stride], weights),
                tensor(f"{name}_b", [channels], bias),
                tensor(f"{name}_s", [1, -1, channels], None),
            ]
            strides = ints("kernel_shape", [stride] * 2) + ints("strides", [stride] * 2)
            nodes += [
                node("Conv", ["input", f"{name}_w", f"{name}_b"], f"{name}_c", strides),
                node("Transpose", [f"{name}_c"], f"{name}_t", ints("perm", [0, 2, 3, 1])),
                node("Reshape", [f"{name}_t", f"{name}_s"], name, b""),
            ]
            outputs.append(field(12, value(name, [1, "cells", channels])))
    graph = b"".join(nodes) + field(2, b"toy") + b"".join(tensors)
    graph += field(11, value("input", [1, 3, "height", "width"])) + b"".join(outputs)
    return number(1, 7) + field(7, graph) + field(8, field(1, b"") + number(2, 11))


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def number(at: int, value: int) -> bytes:
    return varint(at << 3) + varint(value)


def field(at: int, data: bytes) -> bytes:
    return varint(at << 3 | 2) + varint(len(data)) + data


def ints(name: str, values: list[int]) -> bytes:
    """An attribute that is a list of integers."""
    return field(5, field(1, name.encode()) + b"".join(number(8, each) for each in values) + number(20, 7))


def node(kind: str, inputs: list[str], output: str, attributes: bytes) -> bytes:
    names = b"".join(field(1, each.encode()) for each in inputs)
    return field(
        1, names + field(2, output.encode()) + field(3, output.encode()) + field(4, kind.encode()) + attributes
    )


def tensor(name: str, shape: list[int], values: list[float] | None) -> bytes:
    """Floats of that shape; without values the shape itself, as integers."""
    data = struct.pack(f"<{len(shape)}q", *shape) if values is None else struct.pack(f"<{len(values)}f", *values)
    sizes = [len(shape)] if values is None else shape
    return field(5, b"".join(number(1, each) for each in sizes) + number(2, 7 if values is None else 1)
                 + field(8, name.encode()) + field(9, data))  # fmt: skip


def value(name: str, shape: list[int | str]) -> bytes:
    sizes = [number(1, each) if isinstance(each, int) else field(2, each.encode()) for each in shape]
    kind = number(1, 1) + field(2, b"".join(field(1, each) for each in sizes))
    return field(1, name.encode()) + field(2, field(1, kind))
