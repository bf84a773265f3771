"""``python -m kfp_image_tuning``: the command line."""

import sys

from kfp_image_tuning.cli.command_line import main

if __name__ == "__main__":
    sys.exit(main())
