"""Files: found by their endings, written whole or not at all, and names that stay in a folder."""

import os


def leads_out(name):
    """Whether a name, which is to be relative to a folder, leads out of it."""
    return os.path.isabs(name) or '..' in name.split('/')


def write_aside(path, write):
    """Call `write(file)` for a new file beside `path` that then takes its place."""
    aside = f'{path}.aside'
    try:
        with open(aside, 'wb') as file:
            write(file)
        os.replace(aside, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        if os.path.exists(aside):
            os.unlink(aside)


def find(folder, extensions, say=None):
    """Paths below `folder`, sorted, with slashes, of the files that end in one of `extensions`.

    Endings count in either case; what begins with a dot is left out. Links are followed, but for
    those that lead back to a folder they lie in. OSError where the folder cannot be read, and
    where one below it cannot, unless `say` is there to be called with a line about that.
    """
    folder = str(folder)
    names, above = [], {folder: {_identity(folder)}}

    def refuse(error):
        if say is None or error.filename == folder:
            raise error
        say(f'{error.filename}: left out: {error.strerror}')

    for path, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        inside = above.pop(path)
        folders[:] = [name for name in folders if not name.startswith('.')
                      and _identity(os.path.join(path, name)) not in inside]
        for name in folders:
            below = os.path.join(path, name)
            above[below] = inside | {_identity(below)}
        start = '' if path == folder else os.path.relpath(path, folder) + '/'
        names += [start + name for name in files
                  if name.lower().endswith(tuple(extensions)) and not name.startswith('.')]
    return sorted(names)


def _identity(path):
    try:
        status = os.stat(path)
    except OSError:
        return None     # reading it fails too
    return status.st_dev, status.st_ino
