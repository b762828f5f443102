"""Prints MEBIBYTES of text: as one line without an end (`line`), or as lines (`lines`), then ENDING."""

import sys

size, kind, ending = int(sys.argv[1]) * 1024 * 1024, sys.argv[2], sys.argv[3]
block = (b"0123456789abcdef" * 65536 if kind == "line" else b"0123456789abcde\n" * 65536)[: 1024 * 1024]
for _ in range(size // len(block)):
    sys.stdout.buffer.write(block)
sys.stdout.buffer.write(f"\n{ending}\n".encode())
