"""Run one of FLARE's programs for as long as the process that started it lives.

    python -m feddiff_secure.transport.flare.watched_process MODULE ARGUMENT…

The starter holds the other end of this process's standard input and never writes. When it ends, in
whatever way, the input ends too, and so does this process.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
import time

_POLL = 0.5  # seconds
_EXIT = 1


def end_with_starter() -> None:
    """End this process when its standard input ends."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os._exit(_EXIT)

    threading.Thread(target=wait, name="starter", daemon=True).start()


def end_with_parent() -> None:
    """End this process when its parent does: FLARE's job processes outlive a killed site."""
    parent = os.getppid()

    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(_EXIT)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def main() -> None:
    """Run the module that the first argument names with the other arguments."""
    end_with_starter()
    module = sys.argv[1]
    sys.argv = [module, *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
