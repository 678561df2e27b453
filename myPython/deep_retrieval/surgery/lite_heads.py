"""Heads of the EfficientNet-Lite nets: a PCA of what they pool, learned on photographs.

    learn('lite0', 'rmac', ['photos/general', 'photos/landmarks'], duplicates='photos/duplicates')

Directions are divided by a power of their standard deviations; 1 would be whitening. Labels are not
needed. If some folder has a ground truth of near-duplicates, the head also says from which
similarity on its descriptors are near-duplicates, measured with a head learned without that folder.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deep_retrieval import paths, store
from deep_retrieval.duplicates import mapped_files
from deep_retrieval.duplicates.decimals import steps
from deep_retrieval.duplicates.thresholds import count_groups
from deep_retrieval.extraction import images_of
from deep_retrieval.model import DescriptorNet
from deep_retrieval.surgery import lite_import, lite_weights
from deep_retrieval.surgery.pca_layers import entering
from deep_retrieval.vectors import normalize
from deep_retrieval.whitening import Whitening

S = 362                                 # longer side of the photographs in pixels
POWER = 0.5                             # of the standard deviations that directions are divided by
DIMENSIONS = {1024, 512, 384, 256, 128}         # that thresholds are measured for
MOST = {'rmac': 1024, 'gem': 512}       # dimensions of a head
RECOMMENDED = {'rmac': 1024, 'gem': 512}
PRECISIONS = ('0.90', '0.95', '0.99')
BLOB = f'{lite_weights.POOLED}/normalized_flat'
GROUPS = 'groups.txt'                   # in the folder of near-duplicates


def learn(trunk: str, pooling: str, photos: Sequence[str | os.PathLike],
          duplicates: str | os.PathLike | None = None, output: str | os.PathLike | None = None, *,
          S: int = S, power: float = POWER, dims: int | None = None) -> Whitening:
    """Learn a head and write it in float16.

    Parameters
    ----------
    trunk : 'lite0', 'lite1' or 'lite2'
    pooling : 'rmac' or 'gem'
    photos : folders of images, with all folders below
    duplicates : one of these folders, with a ground truth `groups.txt`, optional
    output : path, optional
        By default caffemodel/heads/TRUNK_POOLING.npz.
    S, power : as above
    dims : int, optional
        Dimensions of the head; by default MOST of the pooling.

    Returns
    -------
    Whitening

    Raises
    ------
    ValueError
        The photographs are too few for so many dimensions, or `duplicates` is not one of `photos`.
    """
    dims = dims or MOST[pooling]
    photos = [Path(folder) for folder in photos]
    if duplicates is not None and Path(duplicates) not in photos:
        raise ValueError(f'{duplicates}: is not one of the folders to learn from')
    output = Path(output or lite_weights.head_path(trunk, pooling))
    items = {folder: images_of(folder) for folder in photos}
    with store.scratch(output) as folder:
        net = plain_net(trunk, pooling, Path(folder))
        rows = {name: list(entering(net, [item.path for item in found], S, BLOB))
                for name, found in items.items()}
    made_from = {'trunk': trunk, 'pooling': pooling, 'S': S, 'power': power,
                 'dimension': min(RECOMMENDED[pooling], dims),
                 'photographs': {name.name: len(found) for name, found in items.items()},
                 'sha256': hashlib.sha256(''.join(
                     store.sha256(item.path) for found in items.values() for item in found
                 ).encode()).hexdigest()}
    if duplicates is not None:
        others = [row for name, some in rows.items() if name != Path(duplicates) for row in some]
        limits = thresholds(fit(others, dims, power), rows[Path(duplicates)],
                            [Path(item.name).stem for item in items[Path(duplicates)]],
                            Path(duplicates) / GROUPS)
        made_from.update(limits)
    head = fit([row for some in rows.values() for row in some], dims, power, made_from)
    output.parent.mkdir(parents=True, exist_ok=True)
    head.save(output)
    return head


def plain_net(trunk: str, pooling: str, folder: Path) -> DescriptorNet:
    """Return a net without a head; its weights are written to `folder`."""
    weights = lite_weights.make(trunk, pooling, folder / 'plain.caffemodel', dimension=0)
    proto = paths.ROOT / f'proto/lite/deploy_{trunk}_{pooling}.prototxt'
    return DescriptorNet(proto, weights, lite_weights.LEVELS[pooling], mean=lite_import.MEAN)


def fit(rows: Sequence[np.ndarray], dims: int, power: float, made_from: dict | None = None
        ) -> Whitening:
    """Fit a head to the pooled regions of images, each R x D; its arrays are float16."""
    head = Whitening.fit_pca(np.vstack(rows), dims, made_from, power)
    return Whitening(head.mean.astype(np.float16), head.matrix.astype(np.float16), head.kind,
                     head.made_from)


def describe(head: Whitening, rows: Sequence[np.ndarray], dimension: int) -> np.ndarray:
    """Return descriptors of the first dimensions, as the nets compute them from pooled regions.

    rows : R x D per image
    """
    mean, matrix = head.mean.astype(np.float32), head.matrix[:, :dimension].astype(np.float32)
    return normalize(np.array([normalize((some - mean) @ matrix).sum(axis=0) for some in rows]))


def thresholds(head: Whitening, rows: Sequence[np.ndarray], names: Sequence[str],
               groups: str | os.PathLike) -> dict[str, dict]:
    """Measure from which similarity on images are near-duplicates.

    Parameters
    ----------
    head : Whitening
        Learned without the images.
    rows : R x D per image
    names : of the images
    groups : path of their ground truth

    Returns
    -------
    dict
        `thresholds`: dimension -> precision -> similarity, the lowest in steps of 0.01 with this
        precision; `recall`: dimension -> precision -> share of the pairs that it finds.
    """
    truth, values = mapped_files.read_groups(groups), steps('0', '1', '0.01')
    found = {'thresholds': {}, 'recall': {}}
    most = head.matrix.shape[1]
    for dimension in sorted(each for each in DIMENSIONS | {most} if each <= most):
        vectors = describe(head, rows, dimension)
        similarity = vectors @ vectors.T
        lines = [(name, [(other, float(similarity[i, j]))
                         for j, other in enumerate(names[i + 1:], i + 1)])
                 for i, name in enumerate(names)]
        table = count_groups(lines, truth, values)
        places = {precision: table.reaching(float(precision)) for precision in PRECISIONS}
        found['thresholds'][str(dimension)] = {
            precision: float(values[place]) for precision, place in places.items()
            if place is not None}
        found['recall'][str(dimension)] = {
            precision: round(table.recall()[place], 4) for precision, place in places.items()
            if place is not None}
    return found
