"""Worker processes that end with the process that started them."""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1    # <sys/prctl.h>
SECONDS = 0.5           # between two checks of the parent, if the system does not report its end


def end_with_parent() -> None:
    """Make this worker process end with its parent, and leave Ctrl-C to the parent.

    Use it as the initializer of a ProcessPoolExecutor or multiprocessing.Pool. On Linux the kernel
    kills a worker, even in C code, when the thread that started it ends, so start workers from a
    thread that lives as long as the pool. On other systems, and with the start method 'forkserver',
    a thread watches the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    above, parent = os.getppid(), multiprocessing.parent_process()
    told = sys.platform.startswith('linux') and _signal_at_death()
    # it may have died before the kernel was asked
    if not _lives(above, parent):
        os._exit(1)
    if not told or parent is not None and parent.pid != above:
        threading.Thread(target=_watch, args=(above, parent), daemon=True).start()


def _signal_at_death():
    try:
        return ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0
    except (AttributeError, OSError):   # another C library
        return False


def _lives(above, parent):
    return os.getppid() == above and (parent is None or parent.is_alive())


def _watch(above, parent):
    while _lives(above, parent):
        time.sleep(SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
