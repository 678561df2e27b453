"""Unpack the archives of Oxford and Paris: images into jpg/, ground truth into lab/.

    unpack('paris_1-v1.tgz', 'datasets/Paris')      # ['jpg/paris_defense_000000.jpg', ...]

Only the names of files are used, never the folders in an archive, so nothing is written elsewhere.
"""

import os
import tarfile
import zlib

from deep_retrieval import store
from deep_retrieval.datasets.oxford import GRADES
from deep_retrieval.listing import EXTENSIONS
from deep_retrieval.progress import bar

TRUTH = tuple(f'_{what}.txt' for what in ('query', *GRADES))
LARGEST = 200_000_000   # maximum size in bytes of a file in an archive


def unpack(archive: str, folder: str, overwrite: bool = False) -> list[str]:
    """Write the missing files of an archive to a folder; return the relative paths of all files.

    Raises
    ------
    ValueError
        The archive is damaged, has two different files of the same name or a file that is too
        large, or a file exists with other contents and `overwrite` is False. Files unpacked from a
        damaged archive are removed.
    """
    for part in ('jpg', 'lab'):
        if os.path.isdir(os.path.join(folder, part)):
            store.clean(os.path.join(folder, part))
    written, paths = [], {}
    try:
        with open(archive, 'rb') as file:
            with bar.wrapattr(file, 'read', total=os.path.getsize(archive),
                              desc=os.path.basename(archive)) as stream, \
                    tarfile.open(fileobj=stream, mode='r:*') as members:
                for member in members:
                    path = _place(member)
                    if path is None:
                        continue
                    if member.size > LARGEST:
                        raise ValueError(f'{archive}: {member.name!r} has {member.size} bytes')
                    data = members.extractfile(member).read()
                    if _write(archive, folder, path, data, path in paths, overwrite):
                        written.append(path)
                    paths[path] = None
                while members.fileobj.read(1 << 20):    # read to the end to verify the checksum
                    pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise       # an error of the disk, not of the archive
        for path in written:
            os.unlink(os.path.join(folder, path))
        reason = str(error).splitlines()[0].rstrip(':')
        raise ValueError(f'{archive}: is damaged ({reason}); remove it and fetch it '
                         'again') from None
    return list(paths)


def _place(member):
    """Return the relative path of an archive's file; None for links, folders and other files."""
    name = os.path.basename(member.name)
    if not member.isreg() or name.startswith('.'):
        return None
    if name.lower().endswith(EXTENSIONS):
        return f'jpg/{name}'
    return f'lab/{name}' if name.endswith(TRUTH) else None


def _write(archive, folder, path, data, again, overwrite):
    """Write a file unless it exists; return whether it was written."""
    whole = os.path.join(folder, path)
    try:
        with open(whole, 'rb') as file:
            if file.read() == data:
                return False
    except FileNotFoundError:
        pass
    else:
        if again:
            raise ValueError(f'{archive}: has two different files {os.path.basename(path)}')
        if not overwrite:
            raise ValueError(f'{whole}: exists, but differs from the file in {archive}; remove it, '
                             'or give --overwrite')
    store.write(whole, data)
    return True
