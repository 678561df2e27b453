"""Safe files: written whole or not at all, and never used for what they were not made from.

    store.write('tmp/mapped.txt', text)                     # aside, then put in place
    store.save_array('tmp/x.npy', rows, {'S': 800, 'weights': store.sha256(weights)})
    rows, note = store.load_array('tmp/x.npy', {'S': 800, 'weights': store.sha256(weights)})

Every file that the toolkit writes goes through this package. A run that is killed leaves nothing
but `*.aside` files, which the next one takes over, and journals, from which it resumes. A file and
the note that describes it (a `Manifest`) are one: the note is written last and carries the file's
hash, so that the rows of another model are never taken for those asked for.
"""

from .atomic import (
    StoreError,
    check_folder,
    clean,
    discard,
    place,
    recover,
    replace_folder,
    scratch,
    write,
)
from .journal import Journal
from .lock import Locks
from .manifest import (
    Manifest,
    has_sha256,
    load_array,
    read_json,
    save_array,
    sha256,
    write_json,
)
from .reading import find, leads_out, lies_in, reading
from .workers import end_with_parent

__all__ = ['Journal', 'Locks', 'Manifest', 'StoreError', 'check_folder', 'clean', 'discard',
           'end_with_parent', 'find', 'has_sha256', 'leads_out', 'lies_in', 'load_array', 'place',
           'read_json', 'reading', 'recover', 'replace_folder', 'save_array', 'scratch', 'sha256',
           'write', 'write_json']
