"""Fit a net's centring and projection to the PCA of what enters them.

    directions, images = fit_folder('proto/reduce/serial/deploy_resnet101_pca512.prototxt',
                                    'caffemodel/model.caffemodel', 'datasets/landmark/clean',
                                    'caffemodel/start.caffemodel', S=512, L=2,
                                    centre='pooled_rois/shift', project='pooled_rois/reduce')
"""

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.decomposition import PCA

from deep_retrieval import progress
from deep_retrieval.extraction import images_of
from deep_retrieval.images import read_image, resize
from deep_retrieval.model import DescriptorNet, read_info


def fit_folder(proto: str, weights: str, img_dir: str, output: str, *, S: int, L: int, centre: str,
               project: str, whitening: float = 0) -> tuple[int, int]:
    """Fit two layers to a folder's images, and write the caffemodel `output`.

    Parameters
    ----------
    proto, weights : paths of the deploy net, and of a caffemodel with all layers before `centre`
    img_dir : folder of images, searched recursively
    output : path
    L : levels of the rigid grid
    S, centre, project, whitening : as of `fit`

    Returns
    -------
    components, images : how many directions were fitted, to how many images
    """
    paths = [item.path for item in images_of(img_dir)]
    info = read_info(weights)       # how its images are fed
    net = DescriptorNet(proto, weights, L, end=project, partial_weights=True, mean=info.mean,
                        scale=info.scale, colour=info.colour)
    components = fit(net, paths, S, centre, project, whitening=whitening)
    net.net.save(str(output))
    return components, len(paths)


def fit(net: DescriptorNet, paths: Sequence[str], S: int, centre: str, project: str,
        components: int | None = None, whitening: float = 0, seed: int = 0) -> int:
    """Set two layers of a net to the PCA of the rows that enter the first.

    Parameters
    ----------
    net : DescriptorNet
    paths : images to fit to
    S : longer side in pixels that they are resized to
    centre, project : names of a Scale with bias, and of an InnerProduct after it
    components : directions to keep, at most; the other outputs of `project` become 0
    whitening : power of the standard deviations that directions are divided by
    seed : of the PCA

    Returns
    -------
    int
        How many directions were fitted.

    Raises
    ------
    ValueError
        The net has no such layers.
    """
    params = net.net.params
    for name, type in ((centre, 'Scale'), (project, 'InnerProduct')):
        if name not in params or net.net.layer_dict[name].type != type or len(params[name]) != 2:
            raise ValueError(f'the net has no {type} layer {name!r} with a bias')
    rows = np.vstack(list(entering(net, paths, S, net.net.bottom_names[centre][0])))
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


def entering(net: DescriptorNet, paths: Sequence[str], S: int, blob: str) -> Iterator[np.ndarray]:
    """Yield the rows of a blob for each image, R x D; `S` as of `fit`."""
    last = [name for name, tops in net.net.top_names.items() if blob in tops][-1]
    for path in progress.bar(paths, desc='rows for the PCA', unit='image'):
        image, _ = resize(read_image(path), S)
        net.load([image])
        net.net.forward(end=last)
        rows = net.net.blobs[blob].data
        yield rows.reshape(len(rows), -1).copy()
