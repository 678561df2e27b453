"""Make folders of images from other images: resumable, and refused if they have other contents.

    steps = {'jpg/a.jpg': Step('datasets/Oxford/jpg/a.jpg', partial(stretch, size=(384, 512)))}
    make('datasets/Oxford/val', {'command': 'make_uni_dataset'}, steps, {'lab/a_1_ok.txt': ''})

`.made_from.json` in the folder is written first, and says what the folder is made from; every file
is written atomically. So after an interruption, the same call makes the missing files. When all
files exist, their hashes are added to the manifest, and a later call restores files that have
changed since. A call with other arguments is refused, unless it may overwrite. The source images
are never changed.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from deep_retrieval import store
from deep_retrieval.images import ImageError, read_image
from deep_retrieval.making.edits import encode
from deep_retrieval.making.parallel import parallel
from deep_retrieval.progress import bar

MANIFEST = '.made_from.json'

logger = logging.getLogger(__name__)


class Step(NamedTuple):
    """A file to make: its source image, and an edit (image -> image) or None for a copy."""

    source: str
    edit: Callable | None = None


class How(NamedTuple):
    """How a folder is made.

    link : make hard links instead of copies, if the file system supports it
    overwrite : replace a folder with other contents
    skip_bad : leave out damaged images instead of raising an error
    jobs : number of threads
    """

    link: bool = False
    overwrite: bool = False
    skip_bad: bool = False
    jobs: int = 2


DEFAULT = How()


def make(folder: str | os.PathLike, about: Mapping, steps: Mapping[str, Step],
         texts: Mapping[str, str] | None = None, how: How = DEFAULT) -> int:
    """Make the images and texts of a folder.

    Parameters
    ----------
    folder : path
    about : dict of JSON values
        What the files depend on besides their sources: the command and its flags.
    steps : path relative to the folder -> Step
    texts : path relative to the folder -> text, optional
        They are written after the images, so that texts alone never look like a complete set.
    how : How

    Returns
    -------
    int
        The number of images.

    Raises
    ------
    ValueError
        There are no steps, or the folder has other contents.
    ImageError
        An image is damaged. With `how.skip_bad` it is left out with a warning instead.
    """
    folder, texts = os.fspath(folder), texts or {}
    steps = {name: steps[name] for name in sorted(steps)}
    if not steps:
        raise ValueError(f'{folder}: there are no images to make it from')
    sources = {os.path.dirname(step.source) for step in steps.values()}
    made_from = _made_from(about, steps, texts)
    manifest = prepare(folder, made_from, how.overwrite, sources)
    for part in {os.path.join(folder, os.path.dirname(name)) for name in [*steps, *texts]}:
        os.makedirs(part, exist_ok=True)
        store.clean(part)
    known, bad, names = manifest.note()['files'], {}, list(steps)

    def work(name):
        try:
            _make_file(os.path.join(folder, name), steps[name], how.link, known.get(name))
        except ImageError as error:
            if not how.skip_bad:
                raise ImageError(f'{error} (--skip_bad leaves it out)') from None
            return error

    with bar(total=len(names), unit='image', desc=os.path.basename(folder)) as shown:
        for index, error in parallel(work, names, how.jobs):
            shown.update()
            if error is not None:
                bad[names[index]] = error
    for name in sorted(bad):
        logger.warning('left out: %s', bad[name])
    for name, text in texts.items():
        store.write(os.path.join(folder, name), text)
    manifest.write(made_from, [os.path.join(folder, name) for name in [*names, *texts]
                               if name not in bad])
    return len(names) - len(bad)


def prepare(folder: str | os.PathLike, made_from: Mapping, overwrite: bool = False,
            sources: Iterable[str] = ()) -> store.Manifest:
    """Make a folder with only its manifest, or accept one that was made from the same.

    Parameters
    ----------
    folder : path
    made_from : dict of JSON values
    overwrite : bool
        Delete everything in a folder that was made from something else, or not by this function.
    sources : folders that must not be deleted

    Raises
    ------
    ValueError
        The folder has other contents, or is a file.
    """
    folder = os.fspath(folder)
    manifest = store.Manifest.inside(folder, MANIFEST)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise ValueError(f'{folder}: is a file; choose another folder')
    store.recover(folder)
    if not os.path.isdir(folder) or not set(os.listdir(folder)) - {f'{MANIFEST}.aside'}:
        manifest.write(made_from)
        return manifest
    try:
        if os.path.exists(manifest.path) and not manifest.differences(made_from):
            store.clean(folder)
            return manifest
        what = ('what was made with other flags or from other images'
                if os.path.exists(manifest.path) else 'something else')
    except store.StoreError:
        what = 'something else'
    if not overwrite:
        raise ValueError(f'{folder}: contains {what}; choose another folder, or replace everything '
                         'in it with --overwrite')
    _check_removable(folder, sources)
    with store.replace_folder(folder) as new:
        store.Manifest.inside(new, MANIFEST).write(made_from)
    return manifest


def check_apart(source: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Raise ValueError if a folder to make is inside its source folder, or contains it."""
    source, folder = os.path.realpath(source), os.path.realpath(folder)
    if _holds(source, folder) or _holds(folder, source):
        raise ValueError(f'{folder}: is made from {source}, but is inside it or contains it; '
                         'choose another folder')


def _make_file(path, step, link, known):
    """Make a file unless it exists; known : its entry in the manifest, or None."""
    if os.path.exists(path) and (known is None or store.has_sha256(path, known.get('sha256'))):
        return
    if step.edit is not None:
        image = step.edit(read_image(step.source))
        return store.write(path, encode(image, path))
    try:
        store.place(step.source, path, link)
    except FileNotFoundError:
        raise ImageError(f'{step.source}: there is no such file') from None


def _check_removable(folder, sources):
    """Raise ValueError if a folder contains one that must not be deleted."""
    for path in [os.getcwd(), os.path.expanduser('~'), *sorted(sources)]:
        if _holds(os.path.realpath(folder), os.path.realpath(path)):
            raise ValueError(f'{folder}: contains {path}, which --overwrite would delete; choose '
                             'another folder')


def _holds(folder, path):
    return os.path.commonpath([folder, path]) == folder


def _made_from(about, steps, texts):
    """Return what a folder is made from: `about`, and a hash of the sources' names and sizes."""
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
        return None     # reported when the image is read
