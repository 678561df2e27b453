"""A net's centring and projection fitted to the PCA of what enters them."""

import numpy as np
from region_generator import get_rmac_region_coordinates, pack_regions_for_network
from sklearn.decomposition import PCA

from deep_retrieval import progress
from deep_retrieval.extraction import images_of
from deep_retrieval.images import read_image, resize, to_blob
from deep_retrieval.model import DescriptorNet


def fit_folder(proto, weights, img_dir, output, *, S, L, centre, project, whitening=0):
    """Fit two layers to a folder's images, and write the caffemodel `output`.

    Returns how many directions were fitted, and to how many images. Parameters are those of `fit`.
    """
    paths = [item.path for item in images_of(img_dir)]
    net = DescriptorNet(proto, weights, L, end=project, partial_weights=True)
    components = fit(net, paths, S, centre, project, whitening=whitening)
    net.net.save(str(output))
    return components, len(paths)


def fit(net, paths, S, centre, project, components=None, whitening=0, seed=0):
    """Set two layers to the PCA of the rows that enter the first; returns how many directions.

    net : a DescriptorNet; paths : its images, resized to a longer side of S pixels
    centre, project : names of a Scale with bias and of an InnerProduct behind it. The latter's
        outputs beyond the directions, `components` at most, become 0.
    whitening : power of the standard deviations that directions are divided by

    ValueError where the net has no such layers.
    """
    params = net.net.params
    for name, type in ((centre, 'Scale'), (project, 'InnerProduct')):
        if name not in params or net.net.layer_dict[name].type != type or len(params[name]) != 2:
            raise ValueError(f'the net has no {type} layer {name!r} with a bias')
    rows = entering(net, paths, S, net.net.bottom_names[centre][0])
    outputs = len(params[project][1].data)
    components = min(components or outputs, outputs, *rows.shape)
    pca = PCA(components, svd_solver='full', random_state=seed).fit(rows)
    params[centre][0].data[...] = 1
    params[centre][1].data[...] = -pca.mean_
    params[project][0].data[...] = 0
    params[project][0].data[:components] = (
        pca.components_ / pca.explained_variance_[:, None] ** (whitening / 2))
    params[project][1].data[...] = 0
    return components


def entering(net, paths, S, blob):
    """The rows of a blob for all images, one below the other: N x D."""
    last = [name for name, tops in net.net.top_names.items() if blob in tops][-1]
    rows = []
    for path in progress.bar(paths, desc='rows for the PCA', unit='image'):
        image, _ = resize(read_image(path), S)
        grid = get_rmac_region_coordinates(*image.shape[:2], net.L)
        net.feed('data', to_blob([image]))
        net.feed('rois', pack_regions_for_network([grid]))
        net.net.forward(end=last)
        some = net.net.blobs[blob].data
        rows.append(some.reshape(len(some), -1).copy())
    return np.vstack(rows)
