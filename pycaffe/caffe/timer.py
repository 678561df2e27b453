"""Timer: a stopwatch that waits for the GPU."""

from time import perf_counter

import torch

from .common import device


class Timer:
    """Measures the time from `start()` to `stop()`; reading it stops a running timer, as in Caffe.

    Before the first start the time is 0.
    """

    def __init__(self):
        self._began = self._ended = 0.0
        self._running = False

    def start(self):
        """Start from 0; no effect while the timer runs."""
        if not self._running:
            self._began = _now()
            self._running = True

    def stop(self):
        """Stop; no effect unless the timer runs."""
        if self._running:
            self._ended = _now()
            self._running = False

    @property
    def seconds(self):
        self.stop()
        return self._ended - self._began

    @property
    def ms(self):
        """Milliseconds."""
        return 1e3 * self.seconds

    @property
    def us(self):
        """Microseconds."""
        return 1e6 * self.seconds


def _now():
    if device().type == 'cuda':     # wait for the queued work
        torch.cuda.synchronize(device())
    return perf_counter()
