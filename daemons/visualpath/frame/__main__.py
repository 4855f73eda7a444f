"""`python -m visualpath.frame STREAM --config visualpath.yaml`."""

import sys

from visualpath.frame.daemon import main

sys.exit(main())
