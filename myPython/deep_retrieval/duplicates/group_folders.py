"""Save groups as folders of pictures, `ANCHOR/ITEM_SCORE.jpg`, in the original's layout.

    save(groups, 'datasets/demo_cover/images', 'tmp/groups')
    count(read('tmp/groups'), Decimal('0.7'))       # Left(pairs=..., images=..., groups=...)

In file names, / becomes %2F and % becomes %25. The anchor's own picture has the score 1.0. The
folder also contains the grouping, in the format of mapped files.
"""

import logging
import os
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from deep_retrieval import store
from deep_retrieval.duplicates import cover_groups, mapped_files
from deep_retrieval.duplicates.cover_groups import Group
from deep_retrieval.duplicates.thresholds import report_missing
from deep_retrieval.making import folders

GROUPING = 'grouping.txt'
MAKE = folders.How()    # how pictures are copied by default

logger = logging.getLogger(__name__)


class Left(NamedTuple):
    """What remains of groups at a threshold."""

    pairs: int
    images: int
    groups: int


class Made(NamedTuple):
    """Numbers of pictures and groups written."""

    pictures: int
    groups: int


def save(groups: list[Group], img_dir: str, dst_dir: str, how: folders.How = MAKE) -> Made:
    """Make a folder with one folder of pictures per group.

    Parameters
    ----------
    groups : list of Group
    img_dir : str
        The folder that names are relative to.
    dst_dir : str
        The folder to make.
    how : making.folders.How
    """
    folders.check_apart(img_dir, dst_dir)
    steps = {}
    for group in groups:
        for item, score in [(group.anchor, 1.0), *((hit.name, hit.similarity)
                                                   for hit in group.hits)]:
            name = f'{group_of(group.anchor)}/{picture(item, score)}'
            steps[name] = folders.Step(_source(img_dir, item))
    text = ''.join(mapped_files.format_line(group.anchor, group.hits) for group in groups)
    return Made(_make(dst_dir, 'groups', steps, {GROUPING: text}, how), len(groups))


def save_selected(mapped: str, anchors: list[str], threshold: Decimal, img_dir: str, dst_dir: str,
                  missing: str | None = None, how: folders.How = MAKE) -> Made:
    """Save the groups of some anchors in a mapped file as folders of pictures.

    Anchors without a line are reported, and written to the file `missing` if it is given.
    """
    groups, without = cover_groups.select(mapped_files.read(mapped), anchors, threshold)
    report_missing(without, len(anchors), mapped, path=missing)
    return save(groups, img_dir, dst_dir, how)


def sample(src_dir: str, dst_dir: str, n: int, seed: int = 0, how: folders.How = MAKE) -> Made:
    """Copy `n` random groups, drawn without replacement; ValueError if there are fewer."""
    found = read(src_dir)
    if n > len(found):
        raise ValueError(f'{src_dir}: has {len(found)} groups, fewer than the {n} to draw (--n)')
    places = np.random.default_rng(seed).choice(len(found), n, replace=False)
    return _copy(src_dir, dst_dir, [list(found)[place] for place in sorted(places)], found, how)


def copy(src_dir: str, dst_dir: str, anchors: list[str], missing: str | None = None,
         how: folders.How = MAKE) -> Made:
    """Copy the groups of some anchors; missing ones are reported as in `save_selected`."""
    found = read(src_dir)
    wanted = {anchor: group_of(anchor) for anchor in anchors}
    report_missing([anchor for anchor in anchors if wanted[anchor] not in found], len(anchors),
                   src_dir, path=missing)
    return _copy(src_dir, dst_dir, [group for group in wanted.values() if group in found], found,
                 how)


def read(folder: str) -> dict[str, list[tuple[str, str, float]]]:
    """Read folders of groups, including those made by the original.

    Returns
    -------
    dict of str to list of (file, item, score)
        By the folder of the group, sorted.

    Raises
    ------
    ValueError
        There are no groups, or a file is not a picture with a score.
    """
    groups = {}
    for group in sorted(os.listdir(folder)):
        path = os.path.join(folder, group)
        if os.path.isdir(path) and not group.startswith('.'):
            groups[group] = [(name, *_parse(os.path.join(path, name)))
                             for name in sorted(os.listdir(path)) if not name.startswith('.')]
    if not groups:
        raise ValueError(f'{folder}: contains no folders of groups; the subcommand groups makes '
                         'them')
    return groups


def count(groups: dict, threshold: Decimal | float) -> Left:
    """Count what remains of groups (see `read`) at a threshold.

    A pair is an anchor and an item of its group; a group remains if it has a pair.
    """
    left, threshold = {}, float(threshold)
    for group, pictures in groups.items():
        anchor = _file(anchor_of(group))
        items = {item for _, item, score in pictures if score >= threshold} - {anchor}
        if items:
            left[anchor] = items
    return Left(sum(map(len, left.values())), len(set(left).union(*left.values())), len(left))


def others(folder: str, anchors: list[str]) -> list[str]:
    """List the anchors of the groups in a folder that are not in `anchors`, sorted."""
    found = sorted(set(map(anchor_of, read(folder))) - set(anchors))
    if not found:
        raise ValueError(f'{folder}: all its groups are among the {len(anchors)} given ones')
    return found


def picture(item: str, score: float) -> str:
    """Return the file name of an item; the score follows the last underscore."""
    stem, ending = os.path.splitext(_file(item))
    return f'{group_of(stem)}_{float(score)}{ending}'


def group_of(anchor: str) -> str:
    """Return the name of an anchor's folder."""
    name = anchor.replace('%', '%25').replace('/', '%2F')
    # a leading dot would hide the folder, and .. would lead elsewhere
    return name.replace('.', '%2E', 1) if name.startswith('.') else name


def anchor_of(group: str) -> str:
    """Return the anchor whose folder has this name."""
    for code, sign in (('%2F', '/'), ('%2E', '.'), ('%25', '%')):
        group = group.replace(code, sign)
    return group


def _copy(src_dir, dst_dir, chosen, found, how):
    folders.check_apart(src_dir, dst_dir)
    steps = {f'{group}/{file}': folders.Step(os.path.join(src_dir, group, file))
             for group in chosen for file, _, _ in found[group]}
    return Made(_make(dst_dir, 'copy', steps, {}, how), len(chosen))


def _make(folder, command, steps, texts, how):
    return folders.make(folder, {'command': f'check_on_cover.py {command}'}, steps, texts, how)


def _file(name):
    """Return the file name of an image: the original's mapped files leave out .jpg."""
    return name if os.path.splitext(name)[1][1:].isalpha() else f'{name}.jpg'


def _parse(path):
    stem, ending = os.path.splitext(os.path.basename(path))
    name, _, score = stem.rpartition('_')
    try:
        return anchor_of(name) + ending, float(score)
    except ValueError:
        raise ValueError(f'{path}: is not named ITEM_SCORE.jpg') from None


def _source(img_dir, item):
    if store.leads_out(item):
        raise ValueError(f'{item!r}: leads out of {img_dir}; names must be relative to it')
    path = os.path.join(img_dir, item)
    return path if os.path.exists(path) else os.path.join(img_dir, _file(item))
