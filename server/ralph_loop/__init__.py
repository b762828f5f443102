"""Ralph Loop: runs coding agents in loops until the work is really done."""

__version__ = "0.1.0"
