"""``python -m kfp_image_tuning`` and ``kfp-image-tuning``: the command line."""

import sys


def main() -> int:
    """Run the command that this process was called with; returns the exit code."""
    try:
        # Imported here: Ctrl-C may come as early as that.
        from kfp_image_tuning.cli import command_line

        return command_line.main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
