"""Everything about git: where a folder belongs, what changed in it, reading and writing."""
