"""Prints pseudo-random bytes on both streams, in pieces: every byte value, cut characters, NULs, long and short lines.

`stream_bytes` tells a test what was printed.
"""

import random
import sys


def pieces(seed: int, stream: str) -> list[bytes]:
    chance = random.Random(f"{seed} {stream}")
    text = "plain ü€😀 text\n".encode() * 30
    found: list[bytes] = []
    for _ in range(chance.randrange(20, 60)):
        match chance.randrange(5):
            case 0:
                found.append(chance.randbytes(chance.randrange(1, 300)))
            case 1:
                start = chance.randrange(len(text))
                found.append(text[start : chance.randrange(start, len(text))])
            case 2:
                found.append(bytes(chance.randrange(1, 2000)))
            case 3:
                found.append("€".encode() * chance.randrange(1, 30_000))
            case _:
                found.append(chance.choice([b"\r", b"\n", b"\r\n", b"\xff", b"\xe2\x82", b"\xac", b"\xf0", b"\x1b[2J"]))
    return found


def stream_bytes(seed: int, stream: str) -> bytes:
    return b"".join(pieces(seed, stream))


if __name__ == "__main__":
    seed = int(sys.argv[1])
    out, err = pieces(seed, "stdout"), pieces(seed, "stderr")
    for number in range(max(len(out), len(err))):
        for stream, printed in ((sys.stdout.buffer, out), (sys.stderr.buffer, err)):
            if number < len(printed):
                stream.write(printed[number])
                stream.flush()
