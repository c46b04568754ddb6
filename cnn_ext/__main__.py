"""``python -m cnn_ext``, the same as the command ``cnn-ext``."""

import sys

from .cli import main

sys.exit(main())
