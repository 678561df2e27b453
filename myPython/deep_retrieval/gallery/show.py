"""Galleries and strips of groups, search results and rankings: one call each.

    gallery(groups, photos, 'tmp/gallery')                      # open tmp/gallery/index.html
    gallery({'query.jpg': hits[0]}, photos, 'tmp/gallery')
    groups('tmp/gallery', 'tmp/mapped.txt', 'datasets/demo_cover/images')
"""

import logging
import os
from pathlib import Path
from typing import NamedTuple

from deep_retrieval import store
from deep_retrieval.gallery import pages

logger = logging.getLogger(__name__)


class Strip(NamedTuple):
    """How many rows a strip has, and the names of pictures that could not be read."""

    rows: int
    lost: list


def gallery(groups, features, output: str | os.PathLike, *, images: str | os.PathLike | None = None,
            title: str = 'Near-duplicate groups', overwrite: bool = False) -> pages.Summary:
    """Write a folder of static HTML pages that show groups of images, or hits of queries.

    Parameters
    ----------
    groups : list of Group, or dict of name to list of Hit
    features : Features or FeatureFolder
        Whose names the groups have; says in which folder the images are.
    output : path
        The folder to make. An older gallery there is replaced.
    images : path, optional
        The folder that names are relative to, if it is not the one that was described.
    title : str
        Heading of the pages.
    overwrite : bool
        Delete what `output` holds, even if it is not a gallery.

    Returns
    -------
    pages.Summary
        How many entries, pages and pictures were written, and what is wrong with which pictures.

    Raises
    ------
    ValueError
        There is nothing to show, or `output` holds something else.
    """
    items = groups.items() if isinstance(groups, dict) else [
        (group.anchor, group.hits) for group in groups]
    entries = [pages.Entry(name, hits) for name, hits in items]
    if not entries:
        raise ValueError('there is no group to show; a lower threshold finds more')
    folder = images or getattr(features, 'folder', None)
    locate = pages.in_folder(folder) if folder else _as_path
    described = getattr(features, 'folder', None)
    if described and store.lies_in(output, described):
        raise ValueError(f'{output}: lies in {described}, whose images are described; choose '
                         'another output folder')
    inputs = [str(path) for path in (folder, getattr(features, 'path', None))
              if path and os.path.isdir(path)]
    return pages.write(str(output), entries, lambda name: locate(name) or _as_path(name), title,
                       overwrite=overwrite, inputs=inputs)


def rankings(output: str | os.PathLike, dataset, folder: str | os.PathLike,
             features: list[str] | None = None, *, top: int = 50, title: str | None = None,
             **options) -> pages.Summary:
    """Write a gallery of test.py's rankings: each query and its first hits, marked by the truth.

    Parameters
    ----------
    output : path
        The folder to make.
    dataset : Dataset
    folder : path
        Holds NAME.rnk of each query: the `--temp_dir` of test.py.
    features : list of str, optional
        STEMs of test.py's features, to show similarities. Those of several stems are summed.
    top : int
        Hits to show per query.
    title : str, optional
        Heading of the pages.
    **options
        per_page, side and overwrite, as of `pages.write`.
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
    """Write a gallery of the groups of a mapped file: each anchor and its items.

    Parameters
    ----------
    output : path
        The folder to make.
    mapped : path
        The mapped file.
    images : path
        The folder that names are relative to.
    truth : path, optional
        Ground truth by which hits are marked (see `mapped_files.read_groups`).
    top : int
        Hits to show per group.
    most : int
        Groups to show.
    anchors : list of str, optional
        Show only the groups of these.
    title : str, optional
        Heading of the pages.
    **options
        per_page, side and overwrite, as of `pages.write`.
    """
    from deep_retrieval.gallery import sources
    locate = pages.in_folder(images)
    entries = sources.of_groups(mapped, truth and sources.read_truth(truth), top, most + 1, anchors)
    if len(entries) > most:
        logger.warning('%s: the first %d groups are shown; --groups sets how many', mapped, most)
    elif not entries:
        logger.warning('%s: holds no group', mapped)
    return pages.write(output, entries[:most], locate, title or f'Groups of {Path(mapped).name}',
                       'groups', inputs=[images, mapped], **options)


def strip(output: str | os.PathLike, mapped: str | os.PathLike, images: str | os.PathLike, *,
          truth: str | os.PathLike | None = None, top: int = 5, most: int = 5,
          anchors: list[str] | None = None) -> Strip:
    """Draw the groups of a mapped file as one picture, one row per anchor.

    Parameters are those of `groups`; `output` is an image file.

    Raises
    ------
    ValueError
        There is no group to draw, or OpenCV cannot write an image of that name.
    """
    from deep_retrieval.gallery import picture, sources
    read, lost = picture.reader(pages.in_folder(images))
    entries = sources.of_groups(mapped, truth and sources.read_truth(truth), top, most, anchors)
    if not entries:
        raise ValueError(f'{mapped}: holds no groups to draw')
    picture.save(output, picture.strip(entries, read))
    pages.log_faults({'missing or damaged': lost})
    return Strip(len(entries), lost)


def _as_path(name):
    return name if os.path.isfile(name) else None
