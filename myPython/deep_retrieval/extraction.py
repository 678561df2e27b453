"""Compute descriptors of images: with prefetching and batching, kept on disk, and resumable.

    rows, skipped = extract(net, items, S=800, path='tmp/x.npy', made_from={'weights': ...})

`extract` keeps the descriptors of a dataset's images or queries in an .npy file with a manifest;
`shard_job.py` keeps those of a folder in shards, which several processes can fill. Both use `run`
to read, batch and resume. In notebooks, use `describe.py`.
"""

import hashlib
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from deep_retrieval import progress, store
from deep_retrieval.datasets.base import Dataset, Item, images_of  # noqa: F401
from deep_retrieval.images import ImageError, check_images, crop, read_image, resize
from deep_retrieval.listing import KINDS, list_images
from deep_retrieval.vectors import normalize

WINDOW = 32     # images that are prefetched together and batched by size
READERS = 2     # threads that decode images
MANY_PIXELS = 80_000_000    # a larger image takes more than 240 MB

logger = logging.getLogger(__name__)


def as_items(images: str | os.PathLike | np.ndarray | Iterable) -> tuple[list[Item], Callable]:
    """Convert `images`, as passed to `describe`, to Items; also return the function to read one."""
    if isinstance(images, (str, os.PathLike)):
        path = os.fspath(images)
        if os.path.isdir(path):
            names = list_images(path, recursive=True, extensions=KINDS)
            if not names:
                raise ValueError(f'{path}: contains no images ({" ".join(KINDS)})')
            return [Item(name, os.path.join(path, name)) for name in names], load_checked
        if not os.path.exists(path):
            raise FileNotFoundError(2, 'there is no such file or folder', path)
        return [Item(path, path)], load_checked
    images = list(images)
    if not images:
        raise ValueError('there are no images to describe')
    if all(isinstance(image, (str, os.PathLike)) for image in images):
        paths = list(map(os.fspath, images))
        if len(set(paths)) < len(paths):
            twice = next(path for path, count in Counter(paths).items() if count > 1)
            raise ValueError(f'{twice}: is given twice')
        return [Item(path, path) for path in paths], load_checked
    check_images(images)
    return [Item(str(index), '') for index in range(len(images))], partial(_load_array, images)


def _load_array(arrays, item, S):
    return resize(arrays[int(item.name)], S)[0]


def extract(net: Callable, items: list[Item], S: int | None, path: str, made_from: dict,
            batch_size: int = 1, skip_bad: bool = False) -> tuple[np.ndarray, list[str]]:
    """Return the descriptors of `items`, computing those that are not in the file `path` yet.

    Parameters
    ----------
    net : DescriptorNet, or any function that takes a list of images of one size
    items : list of Item
    S : longer side in pixels; None keeps the images' original sizes
    path : str
        The .npy file. The manifest beside it says what it was made from; features that were made
        from something else are recomputed. Finished batches are kept in STEM.part, from which an
        interrupted run resumes.
    made_from : dict
        What the features depend on besides S and the items.
    skip_bad : bool
        Leave out damaged images, whose rows become NaN.

    Returns
    -------
    rows : N x D float32
    skipped : names of the images that were left out

    Raises
    ------
    ImageError
        An image is damaged, and `skip_bad` is False.
    OSError
        A file cannot be written.

    Notes
    -----
    Batches depend only on the items, so a resumed run gives the same bytes as an uninterrupted one.
    """
    stem = os.path.splitext(path)[0]
    key = {**made_from, 'S': S, 'items': fingerprint(items), 'batch_size': batch_size}
    manifest = store.Manifest.beside(path)
    if manifest.check(key, otherwise='redo'):
        rows, note = store.load_array(path, key)
        if skip_bad or not note['skipped']:
            store.discard(stem + '.part', wait=False)   # left by a run that was killed at its end
            return rows, note['skipped']
    skipped = []

    def skip(i, bad):
        if not skip_bad:
            raise bad
        logger.warning('skipped: %s', bad)
        skipped.append(items[i].name)

    with store.Journal(stem + '.part', key) as journal:
        if journal.rows:
            logger.info('%s: resuming after %d of %d images', path, len(journal.rows), len(items))
        with progress.bar(total=len(items), initial=len(journal.rows), unit='image',
                          desc=os.path.basename(stem)) as bar:
            run(net, items, range(len(items)), S, journal, bar, skip, batch_size)
        if not journal.rows:
            raise ValueError(f'{path}: none of the {len(items)} images can be read')
        rows = journal.matrix(len(items))
        store.save_array(path, rows, key, skipped=skipped)
        journal.remove()
    return rows, skipped


def extract_scales(net: Callable, items: list[Item], scales: list[int],
                   path_of: Callable[[int], str], made_from: dict, batch_size: int = 1,
                   skip_bad: bool = False) -> tuple[np.ndarray, list[str]]:
    """Return the descriptors of `items`, summed over scales and normalized, and skipped names.

    Parameters
    ----------
    scales : longer sides in pixels; with one scale nothing is summed or normalized
    path_of : function from a scale to the .npy file of its descriptors

    The other parameters and the results are those of `extract`.
    """
    parts = [extract(net, items, S, path_of(S), made_from, batch_size, skip_bad) for S in scales]
    rows = sum(rows for rows, _ in parts)
    skipped = list(dict.fromkeys(name for _, names in parts for name in names))
    return (normalize(rows) if len(scales) > 1 else rows), skipped


def feature_path(folder: str | os.PathLike, dataset: Dataset, S: int, made_from: dict, part: str,
                 name: str | None = None) -> str:
    """Return the path of a dataset's features, which is different for each model and dataset.

    For example `tmp/Oxford_S800_L2_1f0c9a3e_queries.npy`; the digits are a hash of `made_from` and
    of the names of the dataset's images.

    name : str, optional
        By default the dataset's.
    """
    text = repr([sorted(made_from.items()), list(dataset.images)])
    digest = hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:8]
    name = name or dataset.name
    return os.path.join(folder, f'{name}_S{S}_L{made_from["L"]}_{digest}_{part}.npy')


def load_item(item: Item, S: int | None) -> np.ndarray:
    """Read an item's image, resize it, then crop it to the item's box; H x W x 3 uint8 BGR.

    S : longer side in pixels; None keeps the original size
    """
    image = read_image(item.path)
    image, ratio = resize(image, S or max(image.shape[:2]))
    return image if item.box is None else crop(image, item.box, ratio, item.path)


def load_checked(item: Item, S: int | None, max_pixels: int = MANY_PIXELS) -> np.ndarray:
    """Read an item's image as `load_item` does, but refuse animations and giant images.

    Raises
    ------
    ImageError
        The image is damaged, animated, or has more than `max_pixels` pixels.
    """
    if os.path.exists(item.path) and not os.path.isfile(item.path):
        raise ImageError(f'{item.path}: is not a file')     # reading a pipe could block
    try:
        import PIL.Image
        PIL.Image.MAX_IMAGE_PIXELS = None       # max_pixels is used instead
        image = PIL.Image.open(item.path)       # reads the header only
    except Exception:   # pillow is missing or fails: let OpenCV decide whether it is an image
        return load_item(item, S)
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise ImageError(f'{item.path}: has {width} x {height} pixels, more than --max_pixels')
        # a phone's JPEG may hold several pictures and still not be an animation
        if image.format in ('GIF', 'PNG', 'WEBP') and image.is_animated:
            raise ImageError(f'{item.path}: is animated')
        if image.format not in ('JPEG', 'MPO', 'PNG'):
            try:
                image.load()    # OpenCV would return the readable part of a truncated file
            except Exception as error:
                raise ImageError(f'{item.path}: {" ".join(str(error).split())}') from None
    return load_item(item, S)


def run(net: Callable, items: list[Item], todo: Iterable[int], S: int | None,
        journal: store.Journal, bar: progress.bar, skip: Callable, batch_size: int = 1,
        load: Callable = load_item) -> None:
    """Append the descriptors of `items[i]` to a journal, for every i in `todo` that it lacks.

    Parameters
    ----------
    net : function that takes a list of images of one size and returns B x D
    items : list of Item
    todo : indices of items
    S : longer side in pixels
    journal : store.Journal, or any object with `rows` and `append`
    bar : progress bar to update
    skip : called with (i, ImageError) for a damaged image, which gets no row
    batch_size : int
    load : function that takes an item and S and returns its image
    """
    todo = [i for i in todo if i not in journal.rows]
    for indices, images, bad in batches(items, todo, S, batch_size, load):
        if bad is not None:
            skip(*indices, bad)
        else:
            journal.append(indices, net(images))
        bar.update(len(indices))


def fingerprint(items: list[Item]) -> str:
    """Return a hash of the items' names, file sizes and boxes."""
    lines = [f'{item.name} {size(item.path)} {item.box}\n' for item in items]
    return hashlib.sha256(''.join(lines).encode('utf-8', 'surrogateescape')).hexdigest()


def size(path: str) -> int | None:
    """Return the size of a file in bytes; None if it cannot be read."""
    try:
        return os.path.getsize(path)
    except OSError:
        return None     # the error is reported when the image is read


def batches(items: list[Item], todo: Iterable[int], S: int | None, batch_size: int,
            load: Callable = load_item) -> Iterator[tuple]:
    """Yield batches (indices, images of one size, None), or ([index], None, ImageError).

    Batches do not cross windows of WINDOW items. Threads read one window while the previous one is
    being processed.
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
    """Yield the window's images as batches, each as soon as it is full."""
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
            yield *map(list, zip(*waiting.pop(image.shape), strict=True)), None
    for batch in waiting.values():
        yield *map(list, zip(*batch, strict=True)), None
