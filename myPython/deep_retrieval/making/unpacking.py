"""The archives of Oxford and Paris unpacked: images flat into jpg/, ground truth into lab/.

    unpack('paris_1-v1.tgz', 'datasets/Paris')      # ['jpg/paris_defense_000000.jpg', ...]

An archive's folders are never used, only its files' own names: nothing is written anywhere else.
"""

import os
import tarfile
import zlib

from tqdm import tqdm

from deep_retrieval.datasets.oxford import GRADES
from deep_retrieval.files import write_aside
from deep_retrieval.listing import EXTENSIONS

TRUTH = tuple(f'_{what}.txt' for what in ('query', *GRADES))
LARGEST = 200_000_000   # bytes of a file in an archive


def unpack(archive, folder, overwrite=False):
    """Write an archive's files below a folder, those that are not there yet; returns their paths.

    ValueError for an archive that is damaged, has two files of one name or one that is too large,
    and, unless it may overwrite, for a file that is there with other bytes. Of an archive that is
    found to be damaged no file is left that was not there before.
    """
    written, paths = [], {}
    try:
        with open(archive, 'rb') as file:
            with tqdm.wrapattr(file, 'read', total=os.path.getsize(archive), disable=None,
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
                while members.fileobj.read(1 << 20):    # to the end, where the checksum is
                    pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise       # of the disk, not of the archive
        for path in written:
            os.unlink(os.path.join(folder, path))
        reason = str(error).splitlines()[0].rstrip(':')
        raise ValueError(f'{archive}: is damaged ({reason}); remove it and fetch it '
                         'again') from None
    return list(paths)


def _place(member):
    """Where an archive's file belongs, or None: links, folders and all other files."""
    name = os.path.basename(member.name)
    if not member.isreg() or name.startswith('.'):
        return None
    if name.lower().endswith(EXTENSIONS):
        return f'jpg/{name}'
    return f'lab/{name}' if name.endswith(TRUTH) else None


def _write(archive, folder, path, data, again, overwrite):
    """Write a file unless it is there; returns whether it was written."""
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
            raise ValueError(f'{whole}: is there with other bytes than in {archive}; remove it, '
                             'or give --overwrite')
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    write_aside(whole, lambda file: file.write(data))
    return True
