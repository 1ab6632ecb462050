"""Entry point of ``python -m feature_extraction``."""

import sys

from feature_extraction.cli import main

if __name__ == "__main__":
    sys.exit(main())
