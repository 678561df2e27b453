"""Apply a function to many items in threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

AHEAD = 4   # submitted items per thread


def parallel(function: Callable, items: Iterable, jobs: int,
             stop: Callable = lambda: None) -> Iterator[tuple]:
    """Yield (index, function(item)) of all items as they finish, in no fixed order.

    After an error, items that were not started are dropped, `stop` is called, running threads are
    waited for, and the error is raised.

    Parameters
    ----------
    function : item -> result
    items : iterable, consumed as threads become free
    jobs : number of threads
    stop : called at the end, to tell running threads to stop early
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
    """Wait for at least one future, and remove and return those that are finished."""
    for future in wait(indices, return_when=FIRST_COMPLETED).done:
        yield indices.pop(future), future.result()
