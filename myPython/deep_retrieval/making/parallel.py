"""A function run over many items by threads."""

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

AHEAD = 4   # items under way, for each thread


def parallel(function, items, jobs, stop=lambda: None):
    """Yield (item's number, function(item)) as they end; items are taken up as threads get free.

    The first error is raised, and what has not begun by then is not begun. Threads that are at
    work then are waited for, after a call of `stop`, which may hurry them.
    """
    pool, numbers = ThreadPoolExecutor(jobs), {}
    try:
        for number, item in enumerate(items):
            numbers[pool.submit(function, item)] = number
            if len(numbers) >= AHEAD * jobs:
                yield from _ended(numbers)
        while numbers:
            yield from _ended(numbers)
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


def _ended(numbers):
    """Wait for one at least."""
    for future in wait(numbers, return_when=FIRST_COMPLETED).done:
        yield numbers.pop(future), future.result()
