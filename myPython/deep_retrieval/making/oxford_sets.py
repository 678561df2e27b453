"""Make sets from the Oxford or Paris dataset.

    make_uniform(OxfordHelper('datasets/Oxford'), 'datasets/Oxford/val', (384, 512))

`make_...` functions make folders, with `folders.make`. The functions below them only plan the
contents: they take an OxfordHelper and return steps (path -> Step), and some also texts (path ->
text): the ground truth of the new set, in the original layout.
"""

import os
from collections.abc import Sequence
from functools import partial

import numpy as np

from deep_retrieval import ranking, store
from deep_retrieval.datasets.oxford import GRADES, OxfordHelper, read_words
from deep_retrieval.features import find_file
from deep_retrieval.images import read_image
from deep_retrieval.images import resize as resize_longer
from deep_retrieval.making.edits import stretch
from deep_retrieval.making.folders import DEFAULT, How, Step, make

NONE = 'non'    # the folder of the images that show no landmark


def make_uniform(dataset: OxfordHelper, folder: str, size: tuple[int, int], how: How = DEFAULT,
                 command: str = 'make_uni_dataset') -> int:
    """Make a copy of a dataset with all images stretched to (height, width); boxes are scaled too.

    Returns the number of images.
    """
    steps, texts = uni_set(dataset, size)
    return make(folder, {'command': command, 'size': size}, steps, texts, how)


def make_halves(dataset: OxfordHelper, folder: str, S: int = 512, seed: int = 0,
                how: How = DEFAULT) -> tuple[int, dict[str, tuple[int, int]]]:
    """Make the sets of `halves`, in the folders training/ and test/.

    Returns
    -------
    count : number of images
    parts : 'training' or 'test' -> numbers of images and of queries
    """
    steps, texts = halves(dataset, S, seed)
    about = {'command': 'make_training_test_set', 'S': S, 'seed': seed}
    count = make(folder, about, steps, texts, how)
    return count, {part: (
        sum(path.startswith(f'{part}/jpg/') for path in steps),
        sum(path.startswith(f'{part}/') and path.endswith('_query.txt') for path in texts))
        for part in ('training', 'test')}


def make_clusters(dataset: OxfordHelper, queries_npy: str, dataset_npy: str, folder: str,
                  count: int = 50, how: How = DEFAULT) -> int:
    """Copy the images most similar to each query, see `similar_clusters`.

    queries_npy, dataset_npy : files of descriptors
    count : images per query
    Returns the number of images copied.
    """
    steps = similar_clusters(dataset, load_rows(queries_npy), load_rows(dataset_npy), count)
    return make(folder, {'command': 'make_queries_sim_cluster', 'count': count}, steps, how=how)


def make_landmark_folders(dataset: OxfordHelper, folder: str, grades: Sequence[str] = GRADES,
                          how: How = DEFAULT) -> int:
    """Copy the images into the folders of `landmark_folders`; return their number."""
    about = {'command': 'cls_img_into_dir', 'grades': grades}
    return make(folder, about, landmark_folders(dataset, grades), how=how)


def uni_set(dataset: OxfordHelper, size: tuple[int, int]) -> tuple[dict, dict]:
    """Return steps and texts: every image at (height, width) pixels, with boxes scaled to match."""
    steps = {f'jpg/{file_name(dataset, name)}':
             Step(dataset.image_path(name), partial(stretch, size=size))
             for name in dataset.images}
    texts = {}
    for query in dataset.queries:
        height, width = read_image(dataset.image_path(query.image)).shape[:2]
        scale = size[1] / width, size[0] / height
        texts.update(_truth_texts(dataset, query, scale))
    return steps, texts


def halves(dataset: OxfordHelper, S: int, seed: int = 0) -> tuple[dict, dict]:
    """Return steps and texts of two sets with half of the images each, in training/ and test/.

    Images are resized to a longer side of S pixels. Query images are in both sets; the others are
    shuffled, and the first half is in the training set. The ground truth of a set only names its
    own images; queries without a positive in the set are left out.
    """
    asked = {query.image for query in dataset.queries}
    others = [name for name in dataset.images if name not in asked]
    order = np.random.default_rng(seed).permutation(len(others))
    first = {others[i] for i in order[:(len(others) + 1) // 2]}
    ratios = {name: S / max(read_image(dataset.image_path(name)).shape[:2]) for name in asked}
    steps, texts = {}, {}
    for part, names in (('training', asked | first), ('test', set(dataset.images) - first)):
        for name in sorted(names):
            steps[f'{part}/jpg/{file_name(dataset, name)}'] = Step(
                dataset.image_path(name), partial(_longer_side, S=S))
        for query in dataset.queries:
            scale = (ratios[query.image],) * 2
            truth = _truth_texts(dataset, query, scale, names)
            good, ok, _ = (truth[f'lab/{query.name}_{grade}.txt'] for grade in GRADES)
            if good or ok:
                texts.update({f'{part}/{path}': text for path, text in truth.items()})
    return steps, texts


def similar_clusters(dataset: OxfordHelper, queries: np.ndarray, database: np.ndarray,
                     count: int = 50) -> dict[str, Step]:
    """Return steps: the images most similar to each query, one folder per query.

    Files are named RANK_GRADE_SIMILARITY_NAME, with the grade in the ground truth, or `bad`.

    Parameters
    ----------
    dataset : OxfordHelper
    queries, database : Q x D and N x D float32
        One descriptor per query and per image, in the dataset's order. Rows of NaN are left out.
    count : images per query
    """
    for rows, wanted, what in ((queries, len(dataset.queries), 'queries'),
                               (database, len(dataset.images), 'images')):
        if rows.ndim != 2 or len(rows) != wanted:
            raise ValueError(f'descriptors of shape {rows.shape} cannot be those of the '
                             f'{wanted} {what} of {dataset.path}')
    there = np.flatnonzero(np.isfinite(database).all(axis=1))
    steps = {}
    for query, row in zip(dataset.queries, queries, strict=True):
        if not np.isfinite(row).all():
            continue
        truth = zip(GRADES, dataset.ground_truth(query), strict=True)
        grade = {name: grade for grade, names in truth for name in names}
        found, values = ranking.top_k(row[None], database[there], min(count, len(there)))
        digits = len(str(count))
        for rank, (index, value) in enumerate(zip(there[found[0]], values[0], strict=True), 1):
            name = dataset.images[index]
            steps[f'{query.name}/{rank:0{digits}d}_{grade.get(name, "bad")}_{value:.3f}_'
                  f'{file_name(dataset, name)}'] = Step(dataset.image_path(name))
    return steps


def landmarks(dataset: OxfordHelper, grades: Sequence[str] = GRADES) -> dict[str, list[str]]:
    """Return {landmark: sorted names of its images with these grades}, one landmark per image.

    The landmark is the name of a query without its number. An image of several landmarks is
    assigned to the one with the best grade (ties: the first).
    """
    best = {}
    for query in dataset.queries:
        landmark = query.name.rpartition('_')[0] or query.name
        for rank, names in enumerate(dataset.ground_truth(query)):
            for name in names:
                best[name] = min(best.get(name, (rank, landmark)), (rank, landmark))
    found = {landmark: [] for landmark in sorted({landmark for _, landmark in best.values()})}
    for name in dataset.images:
        rank, landmark = best.get(name, (None, None))
        if landmark is not None and GRADES[rank] in grades:
            found[landmark].append(name)
    return found


def rest(dataset: OxfordHelper, found: dict) -> list[str]:
    """Return the names of the images that show none of the landmarks `found`."""
    shown = {name for names in found.values() for name in names}
    return [name for name in dataset.images if name not in shown]


def landmark_folders(dataset: OxfordHelper, grades: Sequence[str] = GRADES) -> dict[str, Step]:
    """Return steps: one folder per landmark, and `non` for images of no landmark."""
    found = landmarks(dataset, grades)
    return {f'{landmark}/{file_name(dataset, name)}': Step(dataset.image_path(name))
            for landmark, names in {**found, NONE: rest(dataset, found)}.items()
            for name in names}


def load_rows(path: str | os.PathLike) -> np.ndarray:
    """Read the descriptors in an .npy file, N x D; pickled objects are refused."""
    path = find_file(path)
    with store.reading(path, 'an .npy file of numbers'):
        return np.load(path, allow_pickle=False)


def file_name(dataset: OxfordHelper, name: str) -> str:
    """Return the name of an image's file."""
    return os.path.basename(dataset.image_path(name))


def _longer_side(image, S):
    return resize_longer(image, S)[0]


def _truth_texts(dataset, query, scale, names=None):
    """Return the four files of a query: box scaled by (x, y), images limited to `names`."""
    x, y = scale
    prefix = f'lab/{query.name}'
    # the image's name as written in the dataset, with its prefix
    image = read_words(f'{dataset.lab_prefix(query)}_query.txt')[0]
    box = ' '.join(f'{value:.2f}' for value in
                   (query.box[0] * x, query.box[1] * y, query.box[2] * x, query.box[3] * y))
    texts = {f'{prefix}_query.txt': f'{image} {box}\n'}
    for grade, listed in zip(GRADES, dataset.ground_truth(query), strict=True):
        kept = [name for name in listed if names is None or name in names]
        texts[f'{prefix}_{grade}.txt'] = ''.join(f'{name}\n' for name in kept)
    return texts
