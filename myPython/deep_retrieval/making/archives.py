"""Download Oxford 5k and Paris 6k from the Visual Geometry Group, and lay them out for test.py.

    dataset = download_dataset('Oxford', 'datasets/Oxford')
"""

import logging
import os
from collections.abc import Iterable

from deep_retrieval import store
from deep_retrieval.datasets import DATASETS, OxfordHelper
from deep_retrieval.listing import list_images
from deep_retrieval.making.fetching import Fetcher, fetch_with_bar
from deep_retrieval.making.unpacking import unpack

HOME = 'https://www.robots.ox.ac.uk/~vgg/data/'
# name of a dataset -> its folder below HOME, and its archives
ARCHIVES = {
    'Oxford': ('oxbuildings/', ('oxbuild_images-v1.tgz', 'gt_files_170407.tgz')),
    'Paris': ('parisbuildings/', ('paris_1-v1.tgz', 'paris_2-v1.tgz', 'paris_120310.tgz')),
}
UNPACKED = 'unpacked.json'      # in archives/: the files unpacked from each archive

logger = logging.getLogger(__name__)


def download_dataset(name: str, folder: str | os.PathLike, fetcher: Fetcher | None = None,
                     home: str | None = None, given: Iterable[str] = (), delete: bool = False,
                     overwrite: bool = False) -> OxfordHelper:
    """Fetch and unpack those archives of a dataset that are not unpacked yet.

    Parameters
    ----------
    name : 'Oxford' or 'Paris'
    folder : folder to make
        Images go into jpg/, ground truth into lab/, downloaded archives into archives/.
    fetcher : Fetcher, optional
    home : URL of the archives' folder, optional
    given : local archives, under their own names with or without '-v1'
    delete : delete downloaded archives at the end
    overwrite : replace existing files with other contents

    Returns
    -------
    OxfordHelper
        The dataset, read and checked. Images in jpg/ that are not from an archive are logged.

    Raises
    ------
    ValueError, FileNotFoundError
        An archive is damaged, cannot be fetched, or is not one of the dataset's.
    """
    below, archives = ARCHIVES[name]
    given, home = _match(given, archives), home or HOME + below
    parts = os.path.join(folder, 'archives')
    os.makedirs(parts, exist_ok=True)
    store.clean(parts)
    done = _read_unpacked(parts)
    for archive in archives:
        if archive in done and all(os.path.isfile(os.path.join(folder, path))
                                   for path in done[archive]):
            logger.info('%s: is already unpacked', archive)
            continue
        path = given.get(archive) or os.path.join(parts, archive)
        if not os.path.exists(path):
            fetch_with_bar(fetcher or Fetcher(), f'{home.rstrip("/")}/{archive}', path)
        done[archive] = unpack(path, os.fspath(folder), overwrite)
        store.write_json(os.path.join(parts, UNPACKED), done)
    _warn_of_others(folder, done)
    dataset = DATASETS[name](folder)
    for archive in archives if delete else ():
        if os.path.exists(os.path.join(parts, archive)):
            os.unlink(os.path.join(parts, archive))
    return dataset


def _match(files, archives):
    """Return {name of archive: given file}; ValueError for a file that is not an archive's."""
    found = {}
    for file in files:
        name = os.path.basename(file)
        known = [archive for archive in archives if name in (archive, archive.replace('-v1', ''))]
        if not known:
            raise ValueError(f'{file}: is not one of {", ".join(archives)}; rename it')
        if not os.path.isfile(file):
            raise FileNotFoundError(2, 'there is no such file', file)
        found[known[0]] = file
    return found


def _warn_of_others(folder, done):
    """Warn about images in jpg/ that are not from an archive: they would be ranked too."""
    known = {path for paths in done.values() for path in paths}
    others = [name for name in list_images(os.path.join(folder, 'jpg'))
              if f'jpg/{name}' not in known]
    if others:
        logger.warning('%s/jpg: has %d images that are not from an archive, such as %s', folder,
                       len(others), others[0])


def _read_unpacked(folder):
    """Return {name of archive: paths of the files unpacked from it}."""
    try:
        found = store.read_json(os.path.join(folder, UNPACKED))
    except (FileNotFoundError, ValueError):
        return {}
    return {archive: files for archive, files in found.items()
            if isinstance(files, list) and all(isinstance(path, str) for path in files)}
