"""Lets the tests of this folder import `agents_parsing`, whatever the import mode of pytest is."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
