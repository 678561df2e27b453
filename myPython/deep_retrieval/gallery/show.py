"""Make galleries and strips of groups, search results and rankings in one call.

    gallery(groups, photos, 'tmp/gallery')                      # open tmp/gallery/index.html
    gallery({'query.jpg': hits[0]}, photos, 'tmp/gallery')
    groups('tmp/gallery', 'tmp/mapped.txt', 'datasets/demo_cover/images')
"""

import logging
import os
from pathlib import Path
from typing import NamedTuple

from deep_retrieval import store
from deep_retrieval.datasets.base import Dataset
from deep_retrieval.feature_shards import FeatureFolder
from deep_retrieval.features import Features
from deep_retrieval.gallery import pages

logger = logging.getLogger(__name__)


class Strip(NamedTuple):
    """The number of rows of a strip, and the names of pictures that could not be read."""

    rows: int
    lost: list


def gallery(groups: list | dict, features: Features | FeatureFolder, output: str | os.PathLike, *,
            images: str | os.PathLike | None = None, title: str = 'Near-duplicate groups',
            overwrite: bool = False) -> pages.Summary:
    """Write a folder of static HTML pages with groups of images, or with queries and their hits.

    Parameters
    ----------
    groups : list of Group, or dict of name to list of Hit
    features : Features or FeatureFolder
        The features that the groups were made from; they know the folder of the images.
    output : path
        The folder to make. An existing gallery is replaced.
    images : path, optional
        The folder that names are relative to, if it is not the folder that was described.
    title : str
        Heading of the pages.
    overwrite : bool
        Delete the contents of `output`, even if it is not a gallery.

    Returns
    -------
    pages.Summary
        Numbers of entries, pages and pictures written, and the faulty pictures.

    Raises
    ------
    ValueError
        There is nothing to show, or `output` is not a gallery.
    """
    if not isinstance(groups, dict) and not all(hasattr(group, 'anchor') for group in groups):
        raise TypeError('groups must be what find_groups returns, or a dict of name to list of '
                        'Hit: for hits of `search`, dict(zip(queries.names, hits))')
    items = groups.items() if isinstance(groups, dict) else [
        (group.anchor, group.hits) for group in groups]
    entries = [pages.Entry(name, hits) for name, hits in items]
    if not entries:
        raise ValueError('there are no groups to show; a lower threshold may find some')
    described = getattr(features, 'folder', None)
    folder = images or described
    locate = pages.in_folder(folder) if folder else _as_path
    if described and store.lies_in(output, described):
        raise ValueError(f'{output}: lies in {described}, whose images are described; choose '
                         'another output folder')
    inputs = [str(path) for path in (folder, getattr(features, 'path', None))
              if path and os.path.isdir(path)]
    return pages.write(str(output), entries, lambda name: locate(name) or _as_path(name), title,
                       overwrite=overwrite, inputs=inputs)


def rankings(output: str | os.PathLike, dataset: Dataset, folder: str | os.PathLike,
             features: list[str] | None = None, *, top: int = 50, title: str | None = None,
             **options) -> pages.Summary:
    """Write a gallery of test.py's rankings: each query with its first hits, marked by the truth.

    Parameters
    ----------
    output : path
        The folder to make.
    dataset : Dataset
    folder : path
        Folder with NAME.rnk of each query: the `--temp_dir` of test.py.
    features : list of str, optional
        STEMs of test.py's features, to show similarities. Those of several STEMs are summed.
    top : int
        Number of hits to show per query.
    title : str, optional
        Heading of the pages.
    **options
        per_page, side and overwrite, see `pages.write`.
    """
    from deep_retrieval.gallery import sources
    similar = sources.similarities(dataset, features) if features else None
    entries = sources.of_rankings(folder, dataset, similar, top)
    known = set(dataset.images)
    return pages.write(
        output, entries, lambda name: dataset.image_path(name) if name in known else None,
        title or f'Rankings of {Path(dataset.path).name}', 'queries',
        inputs=[dataset.path, folder], **options)


def groups(output: str | os.PathLike, mapped: str | os.PathLike, images: str | os.PathLike, *,
           truth: str | os.PathLike | None = None, top: int = 50, most: int = 10000,
           anchors: list[str] | None = None, title: str | None = None, **options) -> pages.Summary:
    """Write a gallery of the groups in a mapped file: each anchor with its items.

    Parameters
    ----------
    output : path
        The folder to make.
    mapped : path
        The mapped file.
    images : path
        The folder that names are relative to.
    truth : path, optional
        Ground truth to mark hits with (see `mapped_files.read_groups`).
    top : int
        Number of hits to show per group.
    most : int
        Number of groups to show.
    anchors : list of str, optional
        Show only the groups of these anchors.
    title : str, optional
        Heading of the pages.
    **options
        per_page, side and overwrite, see `pages.write`.
    """
    from deep_retrieval.gallery import sources
    locate = pages.in_folder(images)
    entries = sources.of_groups(mapped, truth and sources.read_truth(truth), top, most + 1, anchors)
    if len(entries) > most:
        logger.warning('%s: the first %d groups are shown; --groups sets how many', mapped, most)
    elif not entries:
        logger.warning('%s: contains no groups', mapped)
    return pages.write(output, entries[:most], locate, title or f'Groups of {Path(mapped).name}',
                       'groups', inputs=[images, mapped], **options)


def strip(output: str | os.PathLike, mapped: str | os.PathLike, images: str | os.PathLike, *,
          truth: str | os.PathLike | None = None, top: int = 5, most: int = 5,
          anchors: list[str] | None = None) -> Strip:
    """Draw the groups of a mapped file as one picture, one row per anchor.

    The parameters are those of `groups`, except that `output` is an image file.

    Raises
    ------
    ValueError
        There are no groups to draw, or OpenCV cannot write files of that type.
    """
    from deep_retrieval.gallery import picture, sources
    read, lost = picture.reader(pages.in_folder(images))
    entries = sources.of_groups(mapped, truth and sources.read_truth(truth), top, most, anchors)
    if not entries:
        raise ValueError(f'{mapped}: contains no groups to draw')
    picture.save(output, picture.strip(entries, read))
    pages.log_faults({'missing or damaged': lost})
    return Strip(len(entries), lost)


def _as_path(name):
    return name if os.path.isfile(name) else None
