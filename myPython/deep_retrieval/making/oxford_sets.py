"""Sets made of the Oxford or the Paris dataset: what goes where, for `making.make`.

Each function takes an OxfordHelper and returns steps (path -> Step), or these and texts (path ->
text), which are the ground truth of the new set in the layout of the old one.
"""

import os
from functools import partial

import numpy as np

from deep_retrieval import ranking
from deep_retrieval.datasets.oxford import GRADES, read_words
from deep_retrieval.features import find_file
from deep_retrieval.image_files import stretch
from deep_retrieval.images import read_image
from deep_retrieval.images import resize as resize_longer
from deep_retrieval.making.folders import Step

NONE = 'non'    # the folder of the images that show no landmark


def uni_set(dataset, size):
    """Every image at one size (height, width in pixels), boxes scaled with them."""
    steps = {f'jpg/{file_name(dataset, name)}':
             Step(dataset.image_path(name), partial(stretch, size=size))
             for name in dataset.images}
    texts = {}
    for query in dataset.queries:
        height, width = read_image(dataset.image_path(query.image)).shape[:2]
        scale = size[1] / width, size[0] / height
        texts.update(_truth_texts(dataset, query, scale))
    return steps, texts


def halves(dataset, S, seed=0):
    """Two sets of one half of the images each, in folders training/ and test/.

    Images get longer side S. The images of queries are in both; of the other ones, the first half
    of a shuffled list is for training. The ground truth of each set names its own images only; a
    query that has no positive there is left out of it.
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


def similar_clusters(dataset, queries, database, count=50):
    """The images most similar to each query, a folder a query.

    queries, database : descriptors, one a query and one an image of the dataset, in its order;
        rows of NaN are left out
    Names are RANK_GRADE_SIMILARITY_NAME, grades those of the ground truth or `bad`.
    """
    for rows, wanted, what in ((queries, len(dataset.queries), 'queries'),
                               (database, len(dataset.images), 'images')):
        if rows.ndim != 2 or len(rows) != wanted:
            raise ValueError(f'descriptors of shape {rows.shape} cannot be those of the '
                             f'{wanted} {what} of {dataset.path}')
    there = np.flatnonzero(np.isfinite(database).all(axis=1))
    steps = {}
    for query, row in zip(dataset.queries, queries):
        if not np.isfinite(row).all():
            continue
        grade = {name: grade for grade, names in zip(GRADES, dataset.ground_truth(query))
                 for name in names}
        found, values = ranking.top_k(row[None], database[there], min(count, len(there)))
        digits = len(str(count))
        for rank, (index, value) in enumerate(zip(there[found[0]], values[0]), 1):
            name = dataset.images[index]
            steps[f'{query.name}/{rank:0{digits}d}_{grade.get(name, "bad")}_{value:.3f}_'
                  f'{file_name(dataset, name)}'] = Step(dataset.image_path(name))
    return steps


def landmarks(dataset, grades=GRADES):
    """Landmark -> sorted names of its images of these grades. Each image is of one landmark.

    The landmark is what a query's name has before its number. An image that several landmarks have
    goes to the one that grades it best, and of equals to the first.
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


def rest(dataset, found):
    """Names of the images that are of none of the landmarks `found`."""
    shown = {name for names in found.values() for name in names}
    return [name for name in dataset.images if name not in shown]


def landmark_folders(dataset, grades=GRADES):
    """A folder for each landmark, and `non` for the images of none."""
    found = landmarks(dataset, grades)
    return {f'{landmark}/{file_name(dataset, name)}': Step(dataset.image_path(name))
            for landmark, names in {**found, NONE: rest(dataset, found)}.items()
            for name in names}


def load_rows(path):
    """Descriptors in an .npy file, N x D; nothing that is pickled is loaded."""
    try:
        return np.load(find_file(path), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f'{path}: is no .npy file of numbers: {error}') from None


def file_name(dataset, name):
    """The name of an image's file."""
    return os.path.basename(dataset.image_path(name))


def _longer_side(image, S):
    return resize_longer(image, S)[0]


def _truth_texts(dataset, query, scale, names=None):
    """The four files of a query, its box scaled by (x, y), and its images those of `names`."""
    x, y = scale
    prefix = f'lab/{query.name}'
    # the image as the dataset writes it, with its prefix
    image = read_words(f'{dataset.lab_prefix(query)}_query.txt')[0]
    box = ' '.join(f'{value:.2f}' for value in
                   (query.box[0] * x, query.box[1] * y, query.box[2] * x, query.box[3] * y))
    texts = {f'{prefix}_query.txt': f'{image} {box}\n'}
    for grade, listed in zip(GRADES, dataset.ground_truth(query)):
        kept = [name for name in listed if names is None or name in names]
        texts[f'{prefix}_{grade}.txt'] = ''.join(f'{name}\n' for name in kept)
    return texts
