"""For SECONDS prints euro signs, each piece ending in the middle of one; then END."""

import sys
import time

deadline = time.monotonic() + float(sys.argv[1])
euro = "€".encode()
text = euro * 101
cut = 0
while time.monotonic() < deadline:
    piece = text[cut : 300 - cut % 3 + 1]
    sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    cut = (cut + len(piece)) % 3
    time.sleep(0.02)
sys.stdout.buffer.write(euro[cut:] if cut else b"")
sys.stdout.buffer.write(b"END\n")
