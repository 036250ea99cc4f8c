"""Start the command line: `python -m pipeline` is `cosmotron`."""

from pipeline.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
