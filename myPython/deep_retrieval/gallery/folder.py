"""The gallery's folder: made aside, then put in place of an older gallery.

While it is made, `OUTPUT.part` holds it as `gallery`, and for a moment what it replaces as
`replaced`; a run that was interrupted leaves `OUTPUT.part`, from which the next one goes on.
"""
import os
import re
import shutil
from contextlib import contextmanager

from deep_retrieval.gallery.template import GENERATOR

PART = '.part'
NEW, OLD = 'gallery', 'replaced'    # in it
ENTRIES = re.compile(r'index\.html|page-\d+\.html|style\.css|script\.js|thumbs')


def check(output, overwrite=False, inputs=()):
    """Raise ValueError where a gallery must not take the place of `output`.

    That is a file, a folder that holds one of the paths `inputs` or the current folder, and,
    without `overwrite`, a folder that holds something that is no gallery.
    """
    output = os.path.realpath(output)
    for path in [os.getcwd(), *inputs]:
        if os.path.commonpath([output, os.path.realpath(path)]) == output:
            raise ValueError(f'{output}: holds {path}: choose another output folder')
    if os.path.lexists(output) and not os.path.isdir(output):
        raise ValueError(f'{output}: is a file: choose another output folder')
    if os.path.isdir(output) and not overwrite and not _is_gallery(output):
        raise ValueError(f'{output}: holds something that is no gallery: choose another folder, '
                         'or have --overwrite delete what it holds')
    part = output + PART
    if os.path.lexists(part) and not (os.path.isdir(part) and set(os.listdir(part)) <= {NEW, OLD}):
        raise ValueError(f'{part}: is in the way of the gallery that is made there: move it')


@contextmanager
def replacing(output):
    """Yield the path of a folder that takes the place of `output` in the end, if all goes well.

    Nothing but the folder `thumbs` is in it: that of an interrupted run, and of an older gallery.
    """
    new, old = os.path.join(output + PART, NEW), os.path.join(output + PART, OLD)
    os.makedirs(os.path.join(new, 'thumbs'), exist_ok=True)
    for name in set(os.listdir(new)) - {'thumbs'}:
        os.unlink(os.path.join(new, name))
    if os.path.isdir(os.path.join(output, 'thumbs')) and _is_gallery(output):
        shutil.copytree(os.path.join(output, 'thumbs'), os.path.join(new, 'thumbs'),
                        copy_function=_link, dirs_exist_ok=True)
    yield new
    if os.path.isdir(output):
        shutil.rmtree(old, ignore_errors=True)
        os.rename(output, old)
    os.rename(new, output)
    shutil.rmtree(output + PART)


def _is_gallery(folder):
    """Whether a folder is empty, or holds a gallery and nothing else."""
    names = os.listdir(folder)
    if not names:
        return True
    if 'index.html' not in names or not all(map(ENTRIES.fullmatch, names)):
        return False
    with open(os.path.join(folder, 'index.html'), encoding='utf-8', errors='replace') as file:
        return GENERATOR in file.read(1000)


def _link(source, target):
    """A second name for a file where the file system has such, else a copy."""
    if os.path.exists(target):
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
