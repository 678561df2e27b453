"""Folders made of images: made anew, gone on with, or refused where they hold something else.

    steps = {'jpg/a.jpg': Step('datasets/Oxford/jpg/a.jpg', partial(stretch, size=(384, 512)))}
    make('datasets/Oxford/val', {'command': 'make_uni_dataset'}, steps, {'lab/a_1_ok.txt': ''})

The folder's file `.made_from.json` says what it was made of. The same call again makes what is
missing; another one is refused, unless it may overwrite. Images that are read are never changed.
"""

import hashlib
import json
import os
import shutil
from typing import Callable, NamedTuple, Optional

from tqdm import tqdm

from deep_retrieval.files import write_aside
from deep_retrieval.image_files import encode
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.making.parallel import parallel

MANIFEST = '.made_from.json'


class Step(NamedTuple):
    """A file to make: of which image, and by what (image -> image), or None for a copy."""

    source: str
    edit: Optional[Callable] = None


class How(NamedTuple):
    """How files are made: by hard links instead of copies, over others, without damaged ones."""

    link: bool = False
    overwrite: bool = False
    skip_bad: bool = False
    jobs: int = 2


def make(folder, about, steps, texts=None, how=How(), say=print):
    """Make the files of `steps` (path below the folder -> Step) and `texts` (path -> text) in it.

    about : dict of what they depend on besides the images: the flags
    say : called with a line for each damaged image, which `how.skip_bad` leaves out
    Returns the number of images. ValueError where the folder holds something else.
    """
    steps = {name: steps[name] for name in sorted(steps)}
    if not steps:
        raise ValueError(f'{folder}: there is no image to make it of')
    sources = {os.path.dirname(step.source) for step in steps.values()}
    prepare(folder, _manifest(about, steps, texts or {}), how.overwrite, sources)
    for name in {os.path.dirname(name) for name in [*steps, *(texts or {})]}:
        os.makedirs(os.path.join(folder, name), exist_ok=True)

    def work(name):
        try:
            _make_file(os.path.join(folder, name), steps[name], how.link)
        except ImageError as error:
            if not how.skip_bad:
                raise ImageError(f'{error} (--skip_bad leaves it out)') from None
            return error

    bad = {}
    names = list(steps)
    with tqdm(total=len(names), unit='image', disable=None, desc=os.path.basename(folder)) as bar:
        for number, error in parallel(work, names, how.jobs):
            bar.update()
            if error is not None:
                bad[number] = error
    for number in sorted(bad):
        say(f'left out: {bad[number]}')
    # behind the images, so that texts alone never look like a whole set
    for name, text in (texts or {}).items():
        _write_text(os.path.join(folder, name), text)
    return len(names) - len(bad)


def check_apart(source, folder):
    """ValueError where a folder to make lies in the one that it is made of, or holds it."""
    source, folder = os.path.realpath(source), os.path.realpath(folder)
    if _holds(source, folder) or _holds(folder, source):
        raise ValueError(f'{folder}: lies in {source} or holds it, of which it is to be made; '
                         'choose another folder')


def _make_file(path, step, link):
    if os.path.exists(path):
        return      # files appear whole, and the manifest says that it is the right one
    if step.edit is not None:
        image = step.edit(read_image(step.source))
        return write_aside(path, lambda file: file.write(encode(image, path)))
    try:
        place(step.source, path, link)
    except FileNotFoundError:
        raise ImageError(f'{step.source}: there is no such file') from None


def place(source, path, link):
    """Copy a file, or make a hard link to it where that can be; it appears whole."""
    aside = f'{path}.aside'
    if link:
        try:
            if os.path.lexists(aside):
                os.unlink(aside)
            os.link(os.path.realpath(source), aside)
            return os.replace(aside, path)
        except FileNotFoundError:
            raise
        except OSError:     # another disk, or one that knows no links
            pass
    with open(source, 'rb') as file:
        write_aside(path, lambda copy: shutil.copyfileobj(file, copy))


def prepare(folder, manifest, overwrite, sources=()):
    """Make a folder with its manifest, a dict for JSON; ValueError where there is another.

    overwrite : delete all that a folder with another manifest, or none, holds
    sources : folders that must not be deleted
    """
    manifest = json.loads(json.dumps(manifest))     # as it is read again
    path = os.path.join(folder, MANIFEST)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise ValueError(f'{folder}: is a file; choose another folder')
    if os.path.isdir(folder) and set(os.listdir(folder)) - {f'{MANIFEST}.aside'}:
        try:
            with open(path, encoding='utf-8') as file:
                if json.load(file) == manifest:
                    return
            what = 'what was made with other flags or of other images'
        except (FileNotFoundError, ValueError):
            what = 'something else'
        if not overwrite:
            raise ValueError(f'{folder}: holds {what}; choose another folder, or replace all in '
                             'it with --overwrite')
        _check_removable(folder, sources)
        shutil.rmtree(folder)
    os.makedirs(folder, exist_ok=True)
    _write_text(path, json.dumps(manifest, indent=1, sort_keys=True) + '\n')


def _check_removable(folder, sources):
    """ValueError where a folder holds what must stay."""
    for path in [os.getcwd(), os.path.expanduser('~'), *sorted(sources)]:
        if _holds(os.path.realpath(folder), os.path.realpath(path)):
            raise ValueError(f'{folder}: holds {path}, which --overwrite would delete; choose '
                             'another folder')


def _holds(folder, path):
    return os.path.commonpath([folder, path]) == folder


def _manifest(about, steps, texts):
    """What a folder is made of: `about`, and a hash of its images' names and sizes."""
    digest = hashlib.sha256()
    for name, step in steps.items():
        line = [name, os.path.basename(step.source), _size(step.source)]
        digest.update(os.fsencode(json.dumps(line, ensure_ascii=False)))
    for name, text in texts.items():
        digest.update(os.fsencode(json.dumps([name, text], ensure_ascii=False)))
    return {**about, 'images': len(steps), 'sha256': digest.hexdigest()}


def _size(path):
    try:
        return os.path.getsize(path)
    except OSError:
        return None     # its error is told when the image is read


def _write_text(path, text):
    # names are bytes to the system
    write_aside(path, lambda file: file.write(os.fsencode(text)))
