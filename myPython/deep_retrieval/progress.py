"""Progress of long loops: a bar on a terminal, a line every 30 seconds in a log.

    for path in progress.bar(paths, desc='describe', unit='image'):
        ...

Nothing is shown for work that takes less than two seconds.
"""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

INTERVAL = 30       # seconds between two lines if the output is not a terminal
DELAY = 2           # seconds before anything is shown

logger = logging.getLogger(__name__)
_hidden = 0


class bar(tqdm):
    """A tqdm progress bar that also works in a log.

    It takes tqdm's arguments. If stderr is not a terminal, a line with the count, the elapsed time
    and the remaining time is written every `INTERVAL` seconds.
    """

    def __init__(self, *args, **kwargs):
        self._in_log = not sys.stderr.isatty()
        self._next_line = time.monotonic() + INTERVAL
        kwargs.setdefault('delay', DELAY)
        if self._in_log:
            kwargs = {'mininterval': 1, 'miniters': 1, **kwargs}
        kwargs['disable'] = kwargs.get('disable') or _hidden > 0
        super().__init__(*args, **kwargs)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if not self._in_log:
            return super().display(msg, pos)
        if time.monotonic() < self._next_line:
            return True
        self._next_line = time.monotonic() + INTERVAL
        logger.info(self._line())
        return True

    def _line(self):
        state = self.format_dict
        elapsed = self.format_interval(state['elapsed'])
        done = f'{self.n} {self.unit}s' if not self.unit_scale else (
            f'{self.format_sizeof(self.n)}{self.unit}')
        text = f'{self.desc.rstrip(": ") or "progress"}: {done}'
        if not self.total:
            return f'{text}, {elapsed} elapsed'
        rate = (self.n - self.initial) / state['elapsed'] if state['elapsed'] else 0
        left = self.format_interval((self.total - self.n) / rate) if rate > 0 else 'unknown time'
        return f'{text} of {self.total:g} ({100 * self.n / self.total:.0f} %), ' \
               f'{elapsed} elapsed, {left} remaining'

    # in a log there is nothing to clear or close
    def clear(self, *args, **kwargs) -> None:
        if not self._in_log:
            super().clear(*args, **kwargs)

    def close(self) -> None:
        if self._in_log:
            self.leave = False
            self.disable = True
        super().close()


@contextlib.contextmanager
def hidden(hide: bool = True) -> Iterator[None]:
    """Hide progress inside the block."""
    global _hidden
    _hidden += hide
    try:
        yield
    finally:
        _hidden -= hide
