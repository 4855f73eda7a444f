"""`python -m visualpath.fusion --config visualpath.yaml`."""

import sys

from visualpath.fusion.daemon import main

sys.exit(main())
