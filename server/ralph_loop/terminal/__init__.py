"""The command line: an LSP client of the shared helper like any editor."""
