"""The shared helper: finding it, starting it, speaking to it."""
