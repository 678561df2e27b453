"""Descriptors of many images: read ahead, batched, cached in a file, and resumed.

    features, skipped = extract(net, items, S=800, path='tmp/x.npy', about={'weights': sha256(...)})

Beside `x.npy` (N x D float32) stands `x.json`, which says what it was made from; features that were
made from something else are computed anew. While it runs, `x.part` keeps every finished batch.
"""

import hashlib
import json
import os
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, Optional

import numpy as np
from tqdm import tqdm

from deep_retrieval.files import write_aside
from deep_retrieval.images import ImageError, crop, read_image, resize

WINDOW = 32     # images read ahead, and batched by size among themselves
READERS = 2     # threads that decode
MULTIRES_STEP = 250     # pixels of S between the three scales whose descriptors --multires sums


class Item(NamedTuple):
    """An image to describe: its name, its file, and the box to cut out (or None)."""

    name: str
    path: str
    box: Optional[tuple] = None


def extract(net, items, S, path, about, batch_size=1, skip_bad=False, say=print):
    """Descriptors of `items` at longer side S, from the file `path` where they are already there.

    net : a DescriptorNet
    S : pixels; None for the images' original sizes
    about : dict of what the features depend on besides S and the items (names, sizes, boxes)
    skip_bad : leave out damaged images, whose rows become NaN
    say : called with a line when a cache does not match or a run is resumed
    Returns N x D float32 and the names that were skipped. Raises ImageError for a damaged image,
    OSError where nothing can be written.

    The batches depend on the items alone, so that a resumed run gives the bytes of an unbroken one.
    """
    stem = os.path.splitext(path)[0]
    key = {**about, 'S': S, 'items': fingerprint(items), 'batch_size': batch_size}
    cached = _load(path, stem + '.json', key, say)
    if cached is not None and (skip_bad or not cached[1]):
        return cached
    skipped = []

    def skip(i, bad):
        if not skip_bad:
            raise bad
        say(f'skipped: {bad}')
        skipped.append(items[i].name)

    with Journal(stem + '.part', key) as journal:
        if journal.rows:
            say(f'{path}: going on behind {len(journal.rows)} of {len(items)} images')
        with tqdm(total=len(items), initial=len(journal.rows), unit='image',
                  disable=None, desc=os.path.basename(stem)) as bar:
            describe(net, items, range(len(items)), S, journal, bar, skip, batch_size)
        if not journal.rows:
            raise ValueError(f'{path}: none of the {len(items)} images can be read')
        features = journal.matrix(len(items))
        write_aside(path, lambda file: np.save(file, features))
        note = json.dumps({**key, 'skipped': skipped}, indent=1) + '\n'
        write_aside(stem + '.json', lambda file: file.write(note.encode()))
        journal.remove()
    return features, skipped


def load_item(item, S):
    """An item's image as the net takes it: resized, then cropped. BGR uint8.

    S : pixels of the longer side; None for those that it has
    """
    image = read_image(item.path)
    image, ratio = resize(image, S or max(image.shape[:2]))
    return image if item.box is None else crop(image, item.box, ratio)


def describe(net, items, todo, S, journal, bar, skip, batch_size=1, load=load_item):
    """Put the descriptors of `items[i]`, for all i of `todo`, into a journal that lacks some.

    bar : a tqdm that counts what is added
    skip : called with (i, ImageError) for a damaged image, of which there is no row
    load : what reads an item at longer side S
    """
    todo = [i for i in todo if i not in journal.rows]
    for indices, images, bad in batches(items, todo, S, batch_size, load):
        if bad is not None:
            skip(*indices, bad)
        else:
            journal.append(indices, net(images))
        bar.update(len(indices))


def sha256(path):
    """Hash of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class Journal:
    """A file to which finished batches are appended; one that breaks off inside a batch loses it.

    The first line says what it belongs to; a file that belongs to something else is begun anew.
    Each batch is its length, a checksum, the row numbers and the values. `rows` has all rows that
    are in the file: number -> D float32.
    """

    HEAD = np.dtype([('count', '<i8'), ('dim', '<i8'), ('crc', '<u4')])

    def __init__(self, path, key):
        self.path = path
        self._line = json.dumps(key, sort_keys=True).encode() + b'\n'
        self.rows = {}

    def __enter__(self):
        os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
        self._file = open(self.path, 'a+b')
        self._file.seek(0)
        if self._file.readline() != self._line:
            self._file.truncate(0)
            self._write(self._line)
        else:
            self._file.truncate(self._read())
        return self

    def __exit__(self, *error):
        with self._named():
            self._file.close()

    def append(self, indices, values):
        """Add the rows of a batch: their numbers, and B x D float32."""
        values = np.asarray(values, '<f4')
        body = np.asarray(indices, '<i8').tobytes() + values.tobytes()
        head = np.array([(*values.shape, zlib.crc32(body))], self.HEAD)
        self._write(head.tobytes() + body)
        self.rows.update(zip(indices, values))

    def matrix(self, count):
        """The rows 0 to count - 1, count x D; those that are not there are NaN."""
        dim = len(next(iter(self.rows.values()), ()))
        features = np.full((count, dim), np.nan, np.float32)
        for i, row in self.rows.items():
            features[i] = row
        return features

    def remove(self):
        """Delete the file: everything in it stands elsewhere now."""
        os.unlink(self.path)

    def _write(self, data):
        with self._named():
            self._file.write(data)
            self._file.flush()

    @contextmanager
    def _named(self):
        # errors of an open file do not say which
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.path) from None

    def _read(self):
        """Read whole batches into `rows`; returns where they end."""
        while True:
            end = self._file.tell()
            head = self._file.read(self.HEAD.itemsize)
            if len(head) < self.HEAD.itemsize:
                return end
            count, dim, crc = np.frombuffer(head, self.HEAD)[0]
            body = self._file.read(count * (8 + 4 * dim))
            if len(body) < count * (8 + 4 * dim) or zlib.crc32(body) != crc:
                return end
            indices = np.frombuffer(body, '<i8', count)
            values = np.frombuffer(body, '<f4', offset=8 * count).reshape(count, dim)
            self.rows.update(zip(indices.tolist(), values))


def fingerprint(items):
    """Hash of the items' names, file sizes and boxes."""
    lines = [f'{item.name} {size(item.path)} {item.box}\n' for item in items]
    return hashlib.sha256(''.join(lines).encode('utf-8', 'surrogateescape')).hexdigest()


def size(path):
    """Bytes of a file, None where it is not to be had."""
    try:
        return os.path.getsize(path)
    except OSError:
        return None     # its error is told when the image is read


def _load(path, note, key, say):
    """Features and skipped names in `path`, or None where they do not belong to `key`."""
    if not os.path.exists(path):
        return None
    try:
        with open(note, encoding='utf-8') as file:
            found = json.load(file)
        skipped = found.pop('skipped')
    except (OSError, ValueError, KeyError):
        say(f'{path}: nothing says what these features were made from; computing them anew')
        return None
    other = sorted(name for name in {*found, *key} if found.get(name) != key.get(name))
    if other:
        say(f'{path}: made with other {", ".join(other)}; computing it anew')
        return None
    return np.load(path), skipped


def batches(items, todo, S, batch_size, load=load_item):
    """Yield (indices, images of one size, None), or ([index], None, ImageError), in fixed windows.

    One window is read by threads while the last one is computed.
    """
    windows = defaultdict(list)
    for i in todo:
        windows[i // WINDOW].append(i)
    with ThreadPoolExecutor(READERS) as pool:
        def start(window):
            return [(i, pool.submit(load, items[i], S)) for i in window]

        order = list(windows.values())
        running = start(order[0]) if order else []
        try:
            for following in [*order[1:], []]:
                futures, running = running, start(following)
                yield from _by_size(futures, batch_size)
        finally:
            pool.shutdown(cancel_futures=True)


def _by_size(futures, batch_size):
    """The window's images as batches; a batch goes out as soon as it is full."""
    waiting = defaultdict(list)
    for i, future in futures:
        try:
            image = future.result()
        except ImageError as error:
            yield [i], None, error
            continue
        batch = waiting[image.shape]
        batch.append((i, image))
        if len(batch) == batch_size:
            yield *map(list, zip(*waiting.pop(image.shape))), None
    for batch in waiting.values():
        yield *map(list, zip(*batch)), None
