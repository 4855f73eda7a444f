"""`python -m visualpath.extractor NAME --config visualpath.yaml`."""

import sys

from visualpath.extractor.daemon import main

sys.exit(main())
