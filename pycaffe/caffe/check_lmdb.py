"""Read a whole LMDB once; database.py runs this file in a separate process.

A damaged page can make liblmdb crash the process that reads it. The exit status is 0 if every
record can be found and read; otherwise the process prints a line on stderr or dies by a signal.
"""

import os
import sys

import lmdb


def check(path):
    """Return what is wrong with the LMDB `path`, or None."""
    try:
        environment = lmdb.open(path, readonly=True, create=False, lock=False)
        pages, left = environment.info()['last_pgno'] + 1, environment.stat()['entries']
        size = pages * environment.stat()['psize']
    except lmdb.Error as error:
        return f'cannot be read as an LMDB ({error})'
    # the file is memory-mapped: a page past its end cannot be read
    if os.path.getsize(os.path.join(path, 'data.mdb')) < size:
        return 'the LMDB is truncated'
    try:
        with environment.begin(buffers=True) as transaction:
            for key, value in transaction.cursor():
                bytes(value[-1:])       # the rest lies between this and the key
                left -= 1
                if left < 0 or transaction.get(bytes(key)) is None:
                    return 'the LMDB is damaged (its keys are out of order)'
    except lmdb.Error as error:
        return f'the LMDB is damaged ({error})'
    return f'the LMDB is damaged ({left} records cannot be found)' if left else None


if __name__ == '__main__':
    sys.exit(check(sys.argv[1]))
