"""`python -m ralph_loop`."""

import sys

from ralph_loop.cli import main

sys.exit(main())
