"""Prints COUNT dots, one every DELAY seconds, then TEXT."""

import sys
import time

count, delay, text = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
for _ in range(count):
    print(".", flush=True)
    time.sleep(delay)
print(text)
