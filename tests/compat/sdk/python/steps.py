"""What the programs of this folder share: the test's settings, its content, and steps that are reported a line each."""

import os
import sys
import traceback

ENDPOINT, SLOW_ENDPOINT, BUCKET = os.environ["SDK_ENDPOINT"], os.environ["SDK_SLOW_ENDPOINT"], os.environ["SDK_BUCKET"]
ACCESS_KEY, SECRET_KEY, REGION = os.environ["SDK_ACCESS_KEY"], os.environ["SDK_SECRET_KEY"], os.environ["SDK_REGION"]
CA = os.environ["SDK_CA"] or None
SIZES = [0, 1, 4096, 65535, 65536, 65537, 131071, 131072, 131073, 1 << 20, (5 << 20) + 1]
KEYS = ["plain", "a b", "a+b", "a%20b", "ä/ö/ü€", "𝄞", "q?x=1&y=2", "h#1", "<tag>&'\"", "~!*'()", "semi;colon,=:@$", "back\\slash"]
_failed = False


def value(size):
    """Content of that size, different at each size."""
    period = bytes((i * 167 + (i >> 8) * 13 + size) & 255 for i in range(65_521))
    return (period * (size // len(period) + 1))[:size]


def step(name, run):
    global _failed
    try:
        run()
        print("ok", name, flush=True)
    except Exception as error:
        _failed = True
        where = traceback.extract_tb(error.__traceback__)[-1]
        print(f"FAILED {name}: {type(error).__name__} {error} ({where.filename}:{where.lineno})".replace("\n", " "), flush=True)


def done():
    print("done")
    sys.exit(1 if _failed else 0)
