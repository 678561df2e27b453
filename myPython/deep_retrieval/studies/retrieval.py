"""Experiments with several maps of a net, scored on a dataset.

    study = Study(open_dataset('datasets/Oxford'), proto, weights, 'tmp/offline/raw', S=512)
    result = study.retrieve('raw_concat', (32, 16))
    result = study.retrieve_with_pca('pca_concat', '2', dim=2048)
"""

import copy
import dataclasses
import logging
import os
from functools import cache

import numpy as np

from deep_retrieval import compute_ap, ranking
from deep_retrieval.evaluate import Result
from deep_retrieval.extraction import Item
from deep_retrieval.scales import scales_of
from deep_retrieval.store import sha256
from deep_retrieval.studies import MAPS
from deep_retrieval.studies.branch_features import Branches, BranchNet, extract_branches
from deep_retrieval.studies.experiments import EXPERIMENTS, describe, fit_all, fit_last
from deep_retrieval.studies.pca import load, save
from deep_retrieval.vectors import normalize

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Study:
    """A dataset, a net that pools several maps, and where its features are kept.

    Parameters
    ----------
    dataset : Dataset
    proto, weights : paths of the net
    folder : path of the folder of features and PCAs
    S : longer side in pixels that images are resized to
    L : levels of the rigid grid
    query_crop : 'roi' or 'full'
    temp_dir : folder for rankings
    eval_binary : path of the compiled compute_ap
    """

    dataset: object
    proto: str
    weights: str
    folder: str
    S: int = 512
    L: int = 2
    query_crop: str = 'full'
    batch_size: int = 4
    skip_bad: bool = False
    partial_weights: bool = False
    temp_dir: str | None = None
    eval_binary: str | None = None

    def stem(self, S: int) -> str:
        """Return the path of the features and PCAs without what they are called at the end."""
        return os.path.join(self.folder, f'{self.dataset.name}_S{S}_L{self.L}')

    def features(self, S: int | None = None) -> list[Branches]:
        """Return the Branches of the queries and of the images, made where they are missing."""
        crop = self.query_crop == 'roi'
        path = self.dataset.image_path
        parts = {
            'queries': [Item(query.image, path(query.image), query.box if crop else None)
                        for query in self.dataset.queries],
            'dataset': [Item(name, path(name)) for name in self.dataset.images],
        }

        @cache
        def net():
            return BranchNet(self.proto, self.weights, self.L, self.partial_weights)
        made_from = {'weights': sha256(self.weights), 'proto': sha256(self.proto), 'L': self.L}
        S = S or self.S
        return [extract_branches(net, items, S, f'{self.stem(S)}_{part}', made_from,
                                 self.batch_size, self.skip_bad)
                for part, items in parts.items()]

    def describe_features(self) -> list[str]:
        """Make the features; returns lines that say what there is."""
        lines = []
        for part in self.features():
            images, regions = part.count()
            first = next(part.blocks())
            maps = ', '.join(f'{vectors.shape[1]}-d at stride {stride}'
                             for stride, vectors in first.maps.items())
            master = '' if first.master is None else f'; descriptor {first.master.shape[1]}-d'
            lines.append(f'{part.folder}: {images} images, {regions} regions; {maps}{master}')
        return lines

    def retrieve(self, name: str, strides: tuple, multires: str | None = None) -> Result:
        """Score an experiment without PCA, of maps of these strides.

        multires : name of a set of scales whose descriptors are summed
        """
        experiment, rows = EXPERIMENTS[name](strides), []
        sizes = scales_of(self.S, multires)
        for S in sizes:
            rows.append([describe(experiment, part, []) for part in self.features(S)])
        summed = [normalize(sum(parts)) for parts in zip(*rows, strict=True)] if (
            len(sizes) > 1) else rows[0]
        more = f', sum of S {", ".join(map(str, sizes))}' if len(sizes) > 1 else ''
        return self._score(summed, len(strides), more)

    def retrieve_with_pca(self, name: str, maps: str, *, branch_dim: int | None = None,
                          dim: int | None = None, pca_from=(), incremental: bool = False,
                          fewer: bool = False) -> Result:
        """Score an experiment with PCA.

        Parameters
        ----------
        maps : a name of MAPS
        branch_dim : components of the PCAs of the experiment
        dim : components of one more PCA, of the descriptors themselves
        pca_from : folders of features that the PCA is fitted to, or one .npz of saved PCAs; by
            default it is fitted to what is scored
        incremental, fewer : as of `pca.fit`
        """
        branches = self.features()
        experiment = EXPERIMENTS[name](MAPS[maps])
        net = {key: branches[0].about[key] for key in ('weights', 'proto', 'L')}
        about = {**net, 'experiment': name, 'maps': maps, 'components': branch_dim, 'dim': dim}
        given = list(pca_from)
        if len(given) == 1 and given[0].endswith('.npz'):
            pcas = load(given[0], about)
        else:
            sources = [other_features(path, net) for path in given] or branches
            options = {'incremental': incremental, 'fewer': fewer}
            flag = '--branch_dim' if name == 'pca_concat' else '--dim'
            pcas = fit_all(experiment, sources, branch_dim, flag, **options)
            if dim:
                pcas.append(fit_last(experiment, sources, pcas, dim, **options))
            words = [self.stem(self.S), name, maps, *(str(size) for size in (branch_dim, dim)
                                                      if size)]
            save('_'.join(words) + '.npz', pcas, about)
        last = pcas.pop() if dim else None
        rows = [describe(experiment, part, pcas, last) for part in branches]
        return self._score(rows, len(experiment.strides),
                           f', PCA fitted to {", ".join(given) or "what is scored"}')

    def _score(self, rows, maps, more=''):
        """Rank the images for each query, and judge the rankings."""
        queries, database = rows
        asked, ranked = (np.flatnonzero(np.isfinite(part).all(axis=1)) for part in rows)
        left_out = len(database) - len(ranked)
        if left_out:
            logger.warning('%d of %d images are left out', left_out, len(database))
        if len(asked) < len(queries):
            logger.warning('%d queries without an image are left out of the mean',
                           len(queries) - len(asked))
        indices, _ = ranking.rank(queries[asked], database[ranked])
        images = [self.dataset.images[i] for i in ranked]
        dataset = copy.copy(self.dataset)
        dataset.queries = [self.dataset.queries[i] for i in asked]
        rankings = [[images[i] for i in row] for row in indices]
        per_query = compute_ap.score(dataset, rankings, self.temp_dir, self.eval_binary)
        protocol = (f'query_crop {self.query_crop}, {maps} map{"s" * (maps > 1)}, '
                    f'{queries.shape[1]}-d{more}')
        return Result(sum(per_query.values()) / len(per_query), per_query, protocol,
                      self.query_crop, queries=dataset.queries, rankings=rankings)


def other_features(folder: str, wanted: dict) -> Branches:
    """Return the Branches in a folder. ValueError where they were not made as `wanted` says."""
    branches = Branches(folder)
    other = sorted(name for name in wanted if branches.about.get(name) != wanted[name])
    if other:
        raise ValueError(f'{folder}: these features were made with another {", ".join(other)}; a '
                         'PCA fits those of its own net')
    return branches
