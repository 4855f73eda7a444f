"""`python -m visualpath.clip --config visualpath.yaml`."""

import sys

from visualpath.clip.daemon import main

sys.exit(main())
