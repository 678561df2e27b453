"""Describe the images of a folder, and write the descriptors in shards.

    job = Job('datasets/photos', 'tmp/features', scales=[800], share=(0, 4))
    job.run(model.net, model.made_from)

Process i of n, which may run on several machines, takes every n-th shard, beginning with shard i.
Finished shards are kept: an interrupted run resumes, and a later run adds new images.
"""

import logging
import os
import re
from collections.abc import Callable
from functools import partial

import numpy as np

from deep_retrieval import feature_shards, progress, store
from deep_retrieval.extraction import (
    MANY_PIXELS,
    Item,
    as_items,
    fingerprint,
    load_checked,
    run,
    size,
)
from deep_retrieval.features import Features
from deep_retrieval.images import ImageError
from deep_retrieval.listing import KINDS, list_images
from deep_retrieval.vectors import unit

BAD = 'bad.txt'
OURS = re.compile(r'(shard_\d+(_S\d+)?\.(json|npy|part)|manifest\.json|bad\.txt)(\.aside)?|\.lock')

logger = logging.getLogger(__name__)


class Job:
    """The work of one of several processes that fill a folder of features.

    Parameters
    ----------
    images : path of a folder, or a list of paths
    path : str
        The folder to fill.
    scales : list of int
        Longer sides in pixels that the images are resized to; the descriptors of several scales
        are summed.
    share : (int, int)
        This process's number, from 0, and the number of processes.
    max_pixels : int
        Images with more pixels are treated as bad.
    again : bool
        Recompute the shards that have bad images. Those that have images of another size than
        before are recomputed anyway.
    overwrite : bool
        Discard features that were made from something else.

    Raises
    ------
    ValueError
        There are no images.
    """

    def __init__(self, images, path, scales, batch_size=1, shard_size=feature_shards.SHARD_SIZE,
                 share=(0, 1), max_pixels=MANY_PIXELS, again=False, overwrite=False):
        self.path, self.scales = str(path), scales
        self.batch_size, self.shard_size, self.share = batch_size, shard_size, share
        self.again, self.overwrite = again, overwrite
        if isinstance(images, (str, os.PathLike)):
            self.images = self._folder = str(images)
            found = {name: os.path.join(self.images, name)
                     for name in list_images(images, recursive=True, extensions=KINDS)}
            if not found:
                raise ValueError(f'{images}: contains no images ({" ".join(KINDS)})')
        else:
            self.images, self._folder = 'the list of images', None
            found = {item.name: item.path for item in as_items(images)[0]}
            if '' in found.values():
                raise ValueError(f'{path}: only images that are files can be cached; leave out '
                                 'cache for arrays')
        if self._folder is not None and store.lies_in(self.path, self._folder):
            raise ValueError(f'{path}: lies in {images}, whose images are described; give a folder '
                             'outside')
        self._files, self.names = found, list(found)
        self._load = partial(load_checked, max_pixels=max_pixels)

    def run(self, net: Callable, made_from: dict, wait: bool = False) -> list[int]:
        """Make this process's shards; return the numbers of those that others still have to make.

        Parameters
        ----------
        net : function that takes a list of B images of one size and returns B x D float32
        made_from : dict
            What the features depend on besides the scales.
        wait : bool
            Wait for the shards that another process is making.

        Raises
        ------
        ValueError
            The folder's features were made from something else, or no image can be read.
        """
        self.made_from = {**made_from, 'scales': list(self.scales)}
        self._check()   # fail before anything is written
        with store.Locks(self.path) as locks:
            with locks.held(0):
                todo = self._plan()
            images = sum(len(names) for names in todo.values())
            with progress.bar(total=images * len(self.scales), unit='image',
                              desc=os.path.basename(os.path.abspath(self.path))) as bar:
                others = [i for i in todo if not self._take(i, todo[i], net, bar, locks)]
                for i in others if wait else []:
                    self._take(i, todo[i], net, bar, locks, wait=True)
            with locks.held(0):
                return self._finish()

    def _take(self, number, names, net, bar, locks, wait=False):
        """Make a shard unless another process is making it; returns False if one is."""
        with locks.held(number + 1, wait=wait) as held:
            if not held:
                logger.info('shard %d: another process is making it', number)
            elif not feature_shards.is_done(self.path, number):
                self._make(number, names, net, bar)
        return held

    def open(self) -> Features | feature_shards.FeatureFolder:
        """Open the features of this job's images: the FeatureFolder if it has no others."""
        folder = feature_shards.FeatureFolder(self.path)
        if self._folder is not None and set(folder.names) <= set(self.names):
            return folder
        row = {name: i for i, name in enumerate(folder.names)}
        names = [name for name in self.names if name in row]
        bad = {name: why for name, why in folder.bad.items() if name in self._files}
        values = [folder.rows(row[name], row[name] + 1) for name in names]
        return Features(self.path, names, np.concatenate(values or [folder.rows(0, 0)]),
                        folder.made_from, bad, folder.folder)

    def _check(self):
        """Return whether other features must be discarded; ValueError if that is not allowed."""
        if not os.path.isdir(self.path):
            return False
        manifest = store.Manifest.inside(self.path)
        if os.path.exists(manifest.path):
            state = manifest.state(self.made_from)
            if state != 'same' and not self.overwrite:
                manifest.check(self.made_from)      # raises an error that names the differences
            return state != 'same' or self._is_of_another_folder(manifest)
        store.check_folder(self.path, OURS, self.overwrite)
        orphans = [name for name in os.listdir(self.path) if name.startswith('shard_')]
        if orphans and not self.overwrite:
            raise ValueError(f'{self.path}: has shards, but no {feature_shards.MANIFEST} that says '
                             'what they were made from; give another folder, or --overwrite')
        return bool(orphans)

    def _is_of_another_folder(self, manifest):
        """Whether the features are of another folder, and may be discarded; or ValueError."""
        before = manifest.note().get('folder')
        if not (before and self._folder and os.path.isdir(before)) or os.path.samefile(
                before, self._folder):
            return False    # it may have been moved
        if not self.overwrite:
            raise ValueError(f'{self.path}: has the features of the images in {before}; give '
                             'another folder, or --overwrite')
        return True

    def _plan(self):
        """Plan shards of new images; return this process's unfinished shards, number -> names."""
        if self._check():
            self._remove_features()
        manifest = store.Manifest.inside(self.path).note()
        folder = self._folder and os.path.abspath(self._folder)
        if manifest is None or folder and not os.path.isdir(manifest.get('folder') or folder):
            feature_shards.write_manifest(self.path, self.made_from, folder)
        changed = self._compare(feature_shards.read_shards(self.path))
        shards = feature_shards.plan(self.path, self.names, self.shard_size)
        todo = {}
        for i in list(shards)[self.share[0]::self.share[1]]:
            if i in changed or self.again and shards[i].bad:
                feature_shards.write_plan(self.path, i, shards[i].names)
            elif feature_shards.is_done(self.path, i):
                self._remove_journals(i)
                continue
            todo[i] = shards[i].names
        return todo

    def _remove_features(self):
        # delete shards before the manifest: without it they would belong to the next one
        for name in sorted(os.listdir(self.path), reverse=True):
            if OURS.fullmatch(name) and name != '.lock':
                os.unlink(os.path.join(self.path, name))

    def _compare(self, shards):
        """Report changes in the folder of images since the shards were made.

        Returns the images that have changed, by the number of their shard.
        """
        planned = {name for shard in shards.values() for name in shard.names}
        gone = planned.difference(self.names)
        if planned and len(gone) == len(planned):
            raise ValueError(f'{self.path}: has features of other images: none of them is in '
                             f'{self.images}; give another folder')
        if gone:
            logger.warning('%d images no longer exist, for example %s; their features stay until '
                           'their shards are recomputed', len(gone), min(gone))
        changed = {i: names for i, shard in shards.items() if (names := self._changed(shard))}
        if changed:
            names = [name for some in changed.values() for name in some]
            logger.warning('%d images have changed since, for example %s; recomputing their shards',
                           len(names), min(names))
        return changed

    def _changed(self, shard):
        return [name for name, before in zip(shard.names, shard.sizes or [], strict=False)
                if name in self._files and size(self._files[name]) != before]

    def _make(self, number, names, net, bar):
        items = [Item(name, self._files.get(name, os.path.join(self.images, name)))
                 for name in names]
        sizes = [size(item.path) for item in items]
        key = {**self.made_from, 'items': fingerprint(items), 'batch_size': self.batch_size}
        bad, total = {}, 0

        def skip(i, error):
            bad[names[i]] = str(error).removeprefix(f'{items[i].path}: ')
            bar.clear()
            logger.warning('skipped: %s', error)

        for S in self.scales:
            with store.Journal(self._journal(number, S), key) as journal:
                bar.update(len(journal.rows))
                todo = [i for i, name in enumerate(names) if name not in bad]
                run(net, items, todo, S, journal, bar, skip, self.batch_size, self._load)
                values = journal.matrix(len(items))
            bar.update(len(items) - len(todo))
            if not journal.rows:    # even the dimension is unknown
                total = values
                break
            total = total + values
        rows = unit(total)
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
        """Return the unfinished shards; if there are none, list the bad images in bad.txt."""
        from deep_retrieval.duplicates import mapped_files
        shards = feature_shards.read_shards(self.path)
        # judge the shards as read above: another process may have finished one meanwhile
        missing = [i for i, shard in shards.items()
                   if not feature_shards.is_done(self.path, i, shard)]
        if not missing:
            if not any(shard.good() for shard in shards.values()):
                raise ValueError(f'{self.images}: none of its images can be read')
            store.write(os.path.join(self.path, BAD), ''.join(
                f'{mapped_files.encode(name)}\t{why}\n'
                for shard in shards.values() for name, why in shard.bad.items()))
        return missing


def share(text: str | None = None) -> tuple[int, int]:
    """Parse `I/N`; without a text, return torchrun's rank and world size, or (0, 1)."""
    text = text or '{}/{}'.format(os.environ.get('RANK', 0), os.environ.get('WORLD_SIZE', 1))
    match = re.fullmatch(r'(\d+)/(\d+)', text)
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError(f'--shard {text}: is not I/N, where I is from 0 to N - 1')
    return int(match[1]), int(match[2])
