"""Files that appear whole or not at all, and names that stay in their folder."""

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
