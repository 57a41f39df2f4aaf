"""``aprqa`` and ``python -m aprqa_ci``."""

import sys

from aprqa_ci.cli.main import run

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:], last=True))


if __name__ == "__main__":
    main()
