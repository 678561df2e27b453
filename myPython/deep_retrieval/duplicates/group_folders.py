"""Groups of images as folders of pictures: `ANCHOR/ITEM_SCORE.jpg`, as the original lays them out.

    steps, texts = plan(grouping, 'datasets/demo_cover/images')
    making.make('tmp/groups', {'threshold': '0.7'}, steps, texts)
    groups = read('tmp/groups')     # {folder: [(file, item, score), ...]}

Slashes of names become %2F, and % becomes %25. The anchor's own picture has the score 1.0. The
folder also gets the grouping, in the format of mapped files.
"""

import os

from deep_retrieval.duplicates import mapped_files
from deep_retrieval.files import leads_out
from deep_retrieval.making.folders import Step

GROUPING = 'grouping.txt'


def plan(grouping, img_dir):
    """What making.make takes to make the folders of a grouping: its steps and texts."""
    steps = {}
    for anchor, items in grouping:
        for item, score in [(anchor, 1.0), *items]:
            steps[f'{group_of(anchor)}/{picture(item, score)}'] = Step(_source(img_dir, item))
    text = ''.join(mapped_files.format_line(anchor, items) for anchor, items in grouping)
    return steps, {GROUPING: text}


def picture(item, score):
    """The file name of an item: its score stands behind the last underscore."""
    stem, ending = os.path.splitext(_file(item))
    return f'{group_of(stem)}_{float(score)}{ending}'


def read(folder):
    """{folder of a group: [(file, item, score), ...]} by name; ValueError where there is none.

    The original's folders are read too. What is no picture with a score is an error.
    """
    groups = {}
    for group in sorted(os.listdir(folder)):
        path = os.path.join(folder, group)
        if os.path.isdir(path) and not group.startswith('.'):
            groups[group] = [(name, *_parse(os.path.join(path, name)))
                             for name in sorted(os.listdir(path)) if not name.startswith('.')]
    if not groups:
        raise ValueError(f'{folder}: holds no folders of groups; the subcommand groups makes them')
    return groups


def group_of(anchor):
    """The name of an anchor's folder."""
    name = anchor.replace('%', '%25').replace('/', '%2F')
    # a leading dot would hide it, and .. would lead elsewhere
    return name.replace('.', '%2E', 1) if name.startswith('.') else name


def anchor_of(group):
    """The anchor whose folder has this name."""
    for code, sign in (('%2F', '/'), ('%2E', '.'), ('%25', '%')):
        group = group.replace(code, sign)
    return group


def count(groups, threshold):
    """{'pairs': ..., 'images': ..., 'groups': ...} that are left at a threshold.

    A pair is one of an anchor with an item of its group; a group is left with a pair.
    """
    left, threshold = {}, float(threshold)
    for group, pictures in groups.items():
        anchor = _file(anchor_of(group))
        items = {item for _, item, score in pictures if score >= threshold} - {anchor}
        if items:
            left[anchor] = items
    return {'pairs': sum(map(len, left.values())),
            'images': len(set(left).union(*left.values())), 'groups': len(left)}


def copies(folder, groups):
    """The steps of making.make that copy some groups {folder: [(file, item, score), ...]}."""
    return {f'{group}/{file}': Step(os.path.join(folder, group, file))
            for group, pictures in groups.items() for file, _, _ in pictures}


def _file(name):
    """A name as it is a file's: the original's mapped files leave .jpg out."""
    return name if os.path.splitext(name)[1][1:].isalpha() else f'{name}.jpg'


def _parse(path):
    stem, ending = os.path.splitext(os.path.basename(path))
    name, _, score = stem.rpartition('_')
    try:
        return anchor_of(name) + ending, float(score)
    except ValueError:
        raise ValueError(f'{path}: is no ITEM_SCORE.jpg') from None


def _source(img_dir, item):
    if leads_out(item):
        raise ValueError(f'{item!r}: leads out of {img_dir}; names are relative to it')
    path = os.path.join(img_dir, item)
    return path if os.path.exists(path) else os.path.join(img_dir, _file(item))
