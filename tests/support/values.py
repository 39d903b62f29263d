"""Values that describe themselves: all bytes follow from a seed and a length, so a checker needs no copy."""

import hashlib
import random
import struct

_POOL_BYTES = (16 << 20) + 4099  # No multiple of a block, so that blocks of one value never repeat in place.
_pool = memoryview(random.Random(20_240_601).randbytes(_POOL_BYTES))
_HEADER = struct.Struct(">8sQQ")
_MAGIC = b"hamster1"


def value(seed, size):
    """`size` bytes that differ from those of any other seed (from 24 bytes on)."""
    if size < _HEADER.size:
        return hashlib.sha256(b"%d" % seed).digest()[:size]
    out = bytearray(_HEADER.pack(_MAGIC, seed, size))
    left = size - len(out)
    start = (seed * 7919) % _POOL_BYTES
    while left:
        piece = _pool[start:start + left]
        out += piece
        left -= len(piece)
        start = 0
    return bytes(out)


def describe(data):
    """Describes a value for a failure message."""
    if len(data) >= _HEADER.size and data[:8] == _MAGIC:
        _, seed, size = _HEADER.unpack(data[:_HEADER.size])
        return f"value of seed {seed}, {size} bytes announced, {len(data)} there"
    return f"{len(data)} bytes: {data[:24].hex()}"


def first_difference(a, b):
    """The first offset at which two values differ."""
    for offset, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return offset
    return min(len(a), len(b))
