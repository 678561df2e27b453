"""Safe files: written atomically, and only used if they were made from what is expected.

    store.write('tmp/mapped.txt', text)                     # under another name, then renamed
    store.save_array('tmp/x.npy', rows, {'S': 800, 'weights': store.sha256(weights)})
    rows, note = store.load_array('tmp/x.npy', {'S': 800, 'weights': store.sha256(weights)})

The toolkit writes all files through this package. A killed run only leaves `*.aside` files, which
the next run reuses, and journals, from which it resumes. A file and the note that describes it (a
`Manifest`) belong together: the note is written last and has the file's hash, so the rows of
another model are never used by mistake.
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
