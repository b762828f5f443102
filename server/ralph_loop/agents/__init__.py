"""Adapters: how each kind of agent is called, and how what it prints is read. See :mod:`ralph_loop.agents.base`.

Nothing is imported here: the guard imports this package and has to start in milliseconds.
"""
