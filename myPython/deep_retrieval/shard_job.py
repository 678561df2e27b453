"""The descriptors of a folder's images as the shards of a folder of features.

    job = Job('datasets/photos', 'tmp/features', scales=[800], share=(0, 4), say=print)
    job.run(net, {'weights': sha256('a.caffemodel')})

Of n processes, which may run on several machines, process i takes each n-th shard from the i-th on.
What they have finished stands: a run that was interrupted goes on, a later one adds new images.
"""

import os
import re
from functools import partial

import numpy as np
import PIL.Image
from tqdm import tqdm

from deep_retrieval import feature_shards, files
from deep_retrieval.describe import Item, Journal, describe, fingerprint, load_item, size
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.files import write_aside
from deep_retrieval.image_files import EXTENSIONS
from deep_retrieval.images import ImageError

KINDS = (*EXTENSIONS, '.bmp', '.gif', '.tif', '.tiff', '.webp')
MANY_PIXELS = 80_000_000    # of more, an image takes 240 MB for itself
BAD = 'bad.txt'
OURS = re.compile(r'(shard_\d+(_S\d+)?\.(json|npy|part)|manifest\.json|bad\.txt)(\.aside)?|\.lock')

PIL.Image.MAX_IMAGE_PIXELS = None   # Job has a limit of its own


class Job:
    """What one of several processes does to fill a folder of features.

    scales : pixels of the longer side that the images are resized to; the descriptors of several
        are summed
    share : this process's number, from 0, and how many there are
    max_pixels : images of more are bad
    again : make those shards anew that have bad images, or images that have changed since
    overwrite : throw features away that were made from something else
    say : called with a line about everything that the user should know
    """

    def __init__(self, images, path, scales, batch_size=1, shard_size=feature_shards.SHARD_SIZE,
                 share=(0, 1), max_pixels=MANY_PIXELS, again=False, overwrite=False, say=print):
        self.images, self.path, self.scales = str(images), str(path), scales
        self.batch_size, self.shard_size, self.share = batch_size, shard_size, share
        self.again, self.overwrite, self.say = again, overwrite, say
        self._load = partial(load_checked, max_pixels=max_pixels)
        self.names = files.find(self.images, KINDS, say)
        self._there = set(self.names)
        if not self.names:
            raise ValueError(f'{images}: holds no image ({" ".join(KINDS)})')

    def run(self, net, made_from):
        """Make this process's shards; returns the numbers of those that others still have to.

        net : gives B x D for a list of B images of one size
        made_from : dict of what the features depend on besides the scales; ValueError where those
            in the folder were made from something else
        """
        self.made_from = {**made_from, 'scales': list(self.scales)}
        self._check()   # before anything is written
        with feature_shards.Locks(self.path) as locks:
            with locks.held(0):
                todo = self._plan()
            images = sum(len(names) for names in todo.values())
            with tqdm(total=images * len(self.scales), unit='image', disable=None,
                      desc=os.path.basename(os.path.abspath(self.path))) as bar:
                for i, names in todo.items():
                    with locks.held(i + 1, wait=False) as held:
                        if not held:
                            self.say(f'shard {i}: another process is at it')
                        elif not feature_shards.is_done(self.path, i):
                            self._make(i, names, net, bar)
            with locks.held(0):
                return self._finish()

    def _check(self):
        """Whether the folder has features of another kind; ValueError unless they may go."""
        found, others = None, []
        if os.path.isdir(self.path):
            others = [name for name in os.listdir(self.path) if not OURS.fullmatch(name)]
        if os.path.exists(os.path.join(self.path, feature_shards.MANIFEST)):
            found = feature_shards.read_manifest(self.path)
            names = sorted(name for name in {*found, *self.made_from}
                           if found.get(name) != self.made_from.get(name))
            if names and not self.overwrite:
                raise ValueError(f'{self.path}: its features were made with other '
                                 f'{", ".join(names)}; give another folder, or --overwrite')
        elif others and not self.overwrite:
            raise ValueError(f'{self.path}: holds something else ({min(others)}); give another '
                             'folder, or --overwrite to write beside it')
        return found not in (None, self.made_from)

    def _plan(self):
        """Plan what is new; returns the shards that this process has to make, as i -> names."""
        if self._check():
            self._remove_features()
        if not os.path.exists(os.path.join(self.path, feature_shards.MANIFEST)):
            feature_shards.write_manifest(self.path, self.made_from)
        self._compare(feature_shards.read_shards(self.path))
        shards = feature_shards.plan(self.path, self.names, self.shard_size)
        todo = {}
        for i in list(shards)[self.share[0]::self.share[1]]:
            if self.again and (shards[i].bad or self._changed(shards[i])):
                feature_shards.write_plan(self.path, i, shards[i].names)
            elif feature_shards.is_done(self.path, i):
                self._remove_journals(i)
                continue
            todo[i] = shards[i].names
        return todo

    def _remove_features(self):
        # shards before the manifest: without it, they would belong to the next one
        for name in sorted(os.listdir(self.path), reverse=True):
            if OURS.fullmatch(name) and name != feature_shards.LOCK:
                os.unlink(os.path.join(self.path, name))

    def _compare(self, shards):
        """Say what has changed in the folder of the images since its shards were made."""
        planned = {name for shard in shards.values() for name in shard.names}
        gone = planned.difference(self.names)
        if planned and len(gone) == len(planned):
            raise ValueError(f'{self.path}: has the features of other images: none of them is in '
                             f'{self.images}; give another folder')
        if gone:
            self.say(f'{len(gone)} images are gone, whose features stay, such as {min(gone)}')
        changed = [name for shard in shards.values() for name in self._changed(shard)]
        if changed and not self.again:
            self.say(f'{len(changed)} images have changed since, whose features stay, such as '
                     f'{min(changed)}; --again makes their shards anew')

    def _changed(self, shard):
        return [name for name, before in zip(shard.names, shard.sizes or [])
                if name in self._there and size(os.path.join(self.images, name)) != before]

    def _make(self, number, names, net, bar):
        items = [Item(name, os.path.join(self.images, name)) for name in names]
        sizes = [size(item.path) for item in items]
        key = {**self.made_from, 'items': fingerprint(items), 'batch_size': self.batch_size}
        bad, total = {}, 0

        def skip(i, error):
            bad[names[i]] = str(error).removeprefix(f'{items[i].path}: ')
            bar.clear()
            self.say(f'skipped: {error}')

        for S in self.scales:
            with Journal(self._journal(number, S), key) as journal:
                bar.update(len(journal.rows))
                todo = [i for i, name in enumerate(names) if name not in bad]
                describe(net, items, todo, S, journal, bar, skip, self.batch_size, self._load)
                values = journal.matrix(len(items))
            bar.update(len(items) - len(todo))
            if not journal.rows:    # not even their length is known
                total = values
                break
            total = total + values
        rows = feature_shards.unit(total)
        for i in np.flatnonzero(~np.isfinite(rows).all(1)):
            if names[i] not in bad:
                skip(i, ImageError(f'{items[i].path}: its descriptor is zero or not finite'))
        good = [i for i, name in enumerate(names) if name not in bad]
        feature_shards.write_rows(self.path, number, feature_shards.Shard(names, bad, sizes),
                                  rows[good])
        self._remove_journals(number)

    def _remove_journals(self, number):
        for S in self.scales:
            path = self._journal(number, S)
            if os.path.exists(path):
                os.unlink(path)

    def _journal(self, number, S):
        return f'{feature_shards.stem(self.path, number)}_S{S}.part'

    def _finish(self):
        """List the bad images when all shards are there; returns the numbers of the others."""
        shards = feature_shards.read_shards(self.path)
        # as they were read: meanwhile another process may have made one
        missing = [i for i, shard in shards.items()
                   if not feature_shards.is_done(self.path, i, shard)]
        if not missing:
            if not any(shard.good() for shard in shards.values()):
                raise ValueError(f'{self.images}: none of its images can be read')
            text = ''.join(f'{mapped_files.encode(name)}\t{why}\n'
                           for shard in shards.values() for name, why in shard.bad.items())
            write_aside(os.path.join(self.path, BAD),
                        lambda file: file.write(os.fsencode(text)))
        return missing


def load_checked(item, S, max_pixels):
    """An item's image as load_item has it; ImageError for animations and for giant images too."""
    if os.path.exists(item.path) and not os.path.isfile(item.path):
        raise ImageError(f'{item.path}: is no file')    # of a pipe, reading would not end
    try:
        image = PIL.Image.open(item.path)   # reads the head alone
    except Exception:   # whatever it stumbles over: OpenCV says whether that is an image
        return load_item(item, S)
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(f'{item.path}: has {width} x {height} pixels, more than --max_pixels')
        # phones' JPEG files may hold several pictures, yet they are no animations
        if image.format in ('GIF', 'PNG', 'WEBP') and image.is_animated:
            raise ImageError(f'{item.path}: is animated')
        if image.format not in ('JPEG', 'MPO', 'PNG'):
            try:
                image.load()    # of a part, OpenCV would return that part
            except Exception as error:
                raise ImageError(f'{item.path}: {" ".join(str(error).split())}') from None
    return load_item(item, S)


def share(text=None):
    """(I, N) of `I/N`; without a text those of torchrun, if it started this process, or (0, 1)."""
    text = text or '{}/{}'.format(os.environ.get('RANK', 0), os.environ.get('WORLD_SIZE', 1))
    match = re.fullmatch(r'(\d+)/(\d+)', text)
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError(f'--shard {text}: is not I/N, where I is from 0 to N - 1')
    return int(match[1]), int(match[2])
