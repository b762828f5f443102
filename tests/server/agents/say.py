"""Prints its first argument, with backslash escapes for the bytes."""

import sys

sys.stdout.buffer.write(sys.argv[1].encode("utf-8").decode("unicode_escape").encode("latin-1"))
