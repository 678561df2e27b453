"""Worker processes that end with the process that started them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1    # <sys/prctl.h>
SECONDS = 0.5           # between two looks at the parent, where the system does not tell


def end_with_parent() -> None:
    """Let this worker process end when its parent does, and leave Ctrl-C to the parent.

    It is the initializer of a ProcessPoolExecutor or multiprocessing.Pool. On Linux the kernel
    kills the worker, even within C code, when the thread that started it ends: start workers from
    a thread that lives as long as the pool.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    above, parent = os.getppid(), multiprocessing.parent_process()
    if not sys.platform.startswith('linux') or not _signal_at_death():
        threading.Thread(target=_watch, args=(above,), daemon=True).start()
    # it may have died before; the parent of a forkserver's worker is the server
    if os.getppid() != above or parent and parent.pid != above and not parent.is_alive():
        os._exit(1)


def _signal_at_death():
    try:
        return ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
    except (AttributeError, OSError):   # another C library
        return False


def _watch(above):
    while os.getppid() == above:
        time.sleep(SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
