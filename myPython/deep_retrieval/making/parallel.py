"""A function applied to many items by threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

AHEAD = 4   # submitted items per thread


def parallel(function: Callable, items: Iterable, jobs: int,
             stop: Callable = lambda: None) -> Iterator[tuple]:
    """Yield (index, function(item)) of all items as they are finished, in no fixed order.

    The first error is raised. Items that have not begun by then are dropped; `stop` is called, and
    the threads that still work are waited for.

    Parameters
    ----------
    function : item -> result
    items : consumed as threads become free
    jobs : number of threads
    stop : called in the end, to tell threads that still work to hurry
    """
    pool, indices = ThreadPoolExecutor(jobs), {}
    try:
        for index, item in enumerate(items):
            indices[pool.submit(function, item)] = index
            if len(indices) >= AHEAD * jobs:
                yield from _finished(indices)
        while indices:
            yield from _finished(indices)
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


def _finished(indices):
    """Wait for at least one future, and take out those that are finished."""
    for future in wait(indices, return_when=FIRST_COMPLETED).done:
        yield indices.pop(future), future.result()
