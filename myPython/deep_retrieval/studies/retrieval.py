"""Score combinations of maps on a dataset.

    dataset = open_dataset('datasets/Oxford')
    result = retrieve(dataset, proto, weights, 'raw_concat', '2', features_dir='tmp/maps')
    result = retrieve_with_pca(dataset, proto, weights, 'pca_concat', '2', dim=2048,
                               features_dir='tmp/maps')
    result.mean, result.per_query, result.protocol, result.dim

The functions make features that do not exist yet, and keep them in `features_dir`.
"""

import dataclasses
import os
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from deep_retrieval.datasets.base import Dataset
from deep_retrieval.evaluate import Result, score
from deep_retrieval.extraction import Item, feature_path
from deep_retrieval.model import model_key
from deep_retrieval.saved_features import PARTS
from deep_retrieval.scales import scales_of
from deep_retrieval.studies.combinations import (
    COMBINATIONS,
    describe,
    fit_all,
    fit_last,
    pca,
    strides_of,
)
from deep_retrieval.studies.maps import MapNet, SavedMaps, extract_maps
from deep_retrieval.vectors import normalize


class DatasetMaps(NamedTuple):
    """The maps of a dataset's queries and of its images."""

    queries: SavedMaps
    database: SavedMaps


@dataclasses.dataclass(frozen=True)
class StudyResult(Result):
    """A Result with the dimension of the descriptors, and the file of the PCAs, if any."""

    dim: int = 0
    pca_file: str | None = None


def get_features(dataset: Dataset, proto: str | os.PathLike, weights: str | os.PathLike, *,
                 features_dir: str | os.PathLike, S: int = 512, L: int = 2,
                 query_crop: str = 'full', batch_size: int = 4, skip_bad: bool = False,
                 partial_weights: bool = False) -> DatasetMaps:
    """Make the maps of a dataset that do not exist yet.

    Parameters
    ----------
    dataset : Dataset
        As `open_dataset` returns it.
    proto, weights : paths
        A net of proto/offline, and its caffemodel.
    features_dir : path of a folder
        Folder for the maps, with a different subfolder for each model.
    S : int
        Longer side in pixels that images are resized to.
    L : int
        Levels of the rigid grid.
    query_crop : {'full', 'roi'}
        Use full query images, as in the published tables of these studies, or crop them to boxes.
    batch_size : int
        Images of one size that the net takes at once.
    skip_bad : bool
        Leave damaged images out, with a warning.
    partial_weights : bool
        Accept weights that lack layers of the net.

    Raises
    ------
    ImageError, ValueError, FileNotFoundError
        An image is damaged, or net and weights do not match. The one-line message names the file.
    """
    if query_crop not in PARTS:
        raise ValueError(f'query_crop is {query_crop!r}, but must be roi or full')
    items = {
        PARTS[query_crop]: [Item(query.image, dataset.image_path(query.image),
                                 query.box if query_crop == 'roi' else None)
                            for query in dataset.queries],
        'dataset': [Item(name, dataset.image_path(name)) for name in dataset.images],
    }
    made_from = _made_from(proto, weights, L)
    net = cache(lambda: MapNet(proto, weights, L, partial_weights))
    return DatasetMaps(*(
        extract_maps(net, some, S, _path(features_dir, dataset, S, made_from, part), made_from,
                     batch_size, skip_bad)
        for part, some in items.items()))


def retrieve(dataset: Dataset, proto: str | os.PathLike, weights: str | os.PathLike, name: str,
             maps: str | tuple, *, multires: str | bool = False, S: int = 512,
             query_crop: str = 'full', eval_binary: str | os.PathLike | None = None,
             rankings_dir: str | os.PathLike | None = None, **options) -> StudyResult:
    """Score a combination without PCA.

    Parameters
    ----------
    name : a name of COMBINATIONS
    maps : a name of MAPS, or a tuple of strides
    multires : bool or str
        Sum the descriptors of several scales: a name of `scales.SCALES`.
    eval_binary, rankings_dir : paths, optional
        Score with this compiled `compute_ap`, which reads the rankings from this folder.

    The other parameters are those of `get_features`.
    """
    combination, parts = COMBINATIONS[name](strides_of(maps)), []
    scales = scales_of(S, multires)
    for scale in scales:
        found = get_features(dataset, proto, weights, S=scale, query_crop=query_crop, **options)
        parts.append([describe(combination, part, []) for part in found])
    rows = [normalize(sum(some)) for some in zip(*parts, strict=True)] if multires else parts[0]
    more = f', sum of S {", ".join(map(str, scales))}' if multires else ''
    return _score(dataset, rows, combination, more, query_crop, rankings_dir, eval_binary)


def retrieve_with_pca(dataset: Dataset, proto: str | os.PathLike, weights: str | os.PathLike,
                      name: str, maps: str | tuple, *, features_dir: str | os.PathLike,
                      branch_dim: int | None = None, dim: int | None = None,
                      pca_from: Sequence[str | os.PathLike] = (), incremental: bool = False,
                      fewer: bool = False, S: int = 512, L: int = 2, query_crop: str = 'full',
                      eval_binary: str | os.PathLike | None = None,
                      rankings_dir: str | os.PathLike | None = None, **options) -> StudyResult:
    """Score a combination with PCA, and save the PCAs.

    Parameters
    ----------
    name : a name of COMBINATIONS
    maps : a name of MAPS, or a tuple of strides
    branch_dim : int, optional
        Components of the combination's PCAs, see `combinations.fit_all`.
    dim : int, optional
        Reduce the descriptors to this many dimensions by another PCA. For a combination that adds
        to the net's descriptor, it is the number of components of its PCA instead.
    pca_from : list of paths
        Folders of maps that the PCAs are fitted to, or one .npz saved by an earlier call; by
        default they are fitted to what is scored, which inflates the score.
    incremental : bool
        Use IncrementalPCA, as is always done for more than `pca.MEMORY` bytes.
    fewer : bool
        If there are too few vectors for the requested components, use fewer components.
    eval_binary, rankings_dir : paths, optional
        Score with this compiled `compute_ap`, which reads the rankings from this folder.

    The other parameters are those of `get_features`.

    Raises
    ------
    ValueError
        There are too few vectors for the components, or `pca_from` was made by another net.
    """
    found = get_features(dataset, proto, weights, features_dir=features_dir, S=S, L=L,
                         query_crop=query_crop, **options)
    combination = COMBINATIONS[name](strides_of(maps))
    flag = '--branch_dim'
    if combination.adds:
        branch_dim, dim, flag = dim, None, '--dim'
    net = _made_from(proto, weights, L)
    label = maps if isinstance(maps, str) else '-'.join(map(str, maps))
    made_from = {**net, 'experiment': name, 'maps': label, 'components': branch_dim, 'dim': dim}
    given = [os.fspath(path) for path in pca_from or ()]
    if len(given) == 1 and given[0].endswith('.npz'):
        path, pcas = given[0], pca.load(given[0], made_from)
    else:
        sources = [_other_maps(folder, net) for folder in given] or list(found)
        fit = {'incremental': incremental, 'fewer': fewer}
        pcas = fit_all(combination, sources, branch_dim, flag, **fit)
        if dim:
            pcas.append(fit_last(combination, sources, pcas, dim, **fit))
        key = {**made_from, 'fitted to': [os.path.basename(source.folder) for source in sources]}
        words = [name, label, *(str(size) for size in (branch_dim, dim) if size)]
        path = _path(features_dir, dataset, S, key, '_'.join(words)) + '.npz'
        pca.save(path, pcas, made_from)
    last = pcas.pop() if dim else None
    rows = [describe(combination, part, pcas, last) for part in found]
    more = f', PCA fitted to {", ".join(given) or "what is scored"}'
    result = _score(dataset, rows, combination, more, query_crop, rankings_dir, eval_binary)
    return dataclasses.replace(result, pca_file=path)


def _made_from(proto, weights, L):
    """Return what maps depend on besides S and the images: the whole net, not one blob."""
    made_from = model_key(weights, proto, L, None)
    return {key: made_from[key] for key in ('weights', 'proto', 'L')}


def _path(folder, dataset, S, made_from, part):
    """Return a path in `folder` that is different for each `made_from`."""
    return os.path.splitext(feature_path(folder, dataset, S, made_from, part))[0]


def _other_maps(folder, wanted):
    """Return the SavedMaps in a folder; ValueError if they were made by another net."""
    maps = SavedMaps(folder)
    other = sorted(name for name in wanted if maps.made_from.get(name) != wanted[name])
    if other:
        raise ValueError(f'{folder}: these features were made with another {", ".join(other)}; a '
                         'PCA needs features of the same net')
    return maps


def _score(dataset, rows, combination, more, query_crop, rankings_dir, eval_binary):
    result = score(dataset, *rows, query_crop=query_crop, cache=rankings_dir,
                   eval_binary=eval_binary)
    count, dim = len(combination.strides), rows[0].shape[1]
    protocol = f'{result.protocol}, {count} map{"s" * (count > 1)}, {dim}-d{more}'
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return StudyResult(**{**values, 'protocol': protocol}, dim=dim)
