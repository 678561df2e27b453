"""Messages on stderr in the format of Google's glog, which parsers of Caffe's logs expect."""

import os
import sys
import threading
from datetime import datetime

from tqdm import tqdm

from . import common

INFO, WARNING, ERROR = 0, 1, 2


class _State:
    # the lowest level that is written, as in glog
    level = int(os.environ.get('GLOG_minloglevel') or INFO)
    copy = None     # a file that also gets the lines


def init_log(level=INFO, stderr=True):
    """Write messages of `level` (0 info, 1 warning, 2 error) or higher to stderr."""
    _State.level = level


def copy_log(path):
    """Also append all following log lines to the file `path`; None stops this."""
    if _State.copy is not None:
        _State.copy.close()
    _State.copy = None if path is None else open(
        path, 'a', encoding='utf-8', errors='backslashreplace', buffering=1)


def log(message, level=INFO):
    """Write one line: level and date, time, thread, source and message."""
    if level < _State.level or common.solver_rank() and level == INFO:
        return      # in parallel training, only the first process logs its progress
    frame = sys._getframe(1)
    source = f'{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}'
    now = datetime.now()
    # tqdm.write keeps a progress bar below the lines
    line = (f'{"IWE"[level]}{now:%m%d %H:%M:%S.%f} {threading.get_native_id():5d} {source}] '
            f'{message}')
    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()
    if _State.copy is not None:
        print(line, file=_State.copy)
