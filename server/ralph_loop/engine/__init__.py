"""The engine: owns the loops, and the rules they follow."""
