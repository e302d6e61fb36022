"""``python -m vwo_async``: the command `vwo-async`."""

from ._cli.entry import main

if __name__ == "__main__":
    main()
