"""Becomes a program that ends when its parent does: `launch.py PARENT_PID PROGRAM ARGS...`.

Run by path, in a fresh interpreter: without it Envoy would outlive a killed server and keep its ports. Doing
the same between fork and exec would run Python beside gRPC's threads, which can hang.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Asks the kernel for the signal, and becomes the program."""
    parent, program, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the line above
            sys.exit(1)
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
