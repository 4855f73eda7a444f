"""`python -m visualpath.watch --config visualpath.yaml`."""

import sys

from visualpath.watch.daemon import main

sys.exit(main())
