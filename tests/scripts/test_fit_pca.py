"""Fitting centring and projection to images: against NumPy's eigenvectors of what enters."""

import shutil
import sys

import cv2
import fit_pca
import numpy as np
import pytest
import sklearn.decomposition  # noqa: F401  (sets variables of the environment)
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval import model
from deep_retrieval.surgery import nets

TINY = ROOT / 'tests/data/genuine/tiny.caffemodel'
SERIAL = ROOT / 'proto/tiny/reduce/serial/deploy_resnet_tiny_pca32.prototxt'
REGIONS = ROOT / 'proto/deploy_resnet_tiny.prototxt'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    random = np.random.default_rng(0)
    for i in range(12):
        small = random.integers(0, 256, (3, 4, 3), np.uint8)
        cv2.imwrite(str(folder / f'{i:02}.png'), cv2.resize(small, (64, 48)))
    return folder


@pytest.fixture
def fit(folder, tmp_path, monkeypatch, capsys):
    """Function: flags -> the weights that the script wrote, and what it printed."""
    def run(*flags):
        path = tmp_path / 'fitted.caffemodel'
        monkeypatch.setattr(sys, 'argv', list(map(str, [
            'fit_pca.py', '--gpu', -1, '--S', 64, '--weights', TINY, '--img_dir', folder,
            '--output', path, *flags])))
        fit_pca.main(fit_pca.parse_args())
        return nets.load_weights(path), capsys.readouterr().out
    return run


def rows_of(folder, end):
    net = model.DescriptorNet(REGIONS, TINY, L=2, end='rmac/normalized')
    rows = []
    for path in sorted(folder.iterdir()):
        net([cv2.imread(str(path))])
        rows.append(net.net.blobs[end].data.reshape(-1, net.net.blobs[end].shape[1]).copy())
    return np.vstack(rows).astype(np.float64)


def test_images_are_fed_as_the_json_says(fit, folder, tmp_path):
    weights = tmp_path / 'other.caffemodel'
    shutil.copy(TINY, weights)
    model.write_info(weights, mean=[10, 20, 30], colour='RGB')
    fitted, _ = fit('--proto', SERIAL, '--weights', weights)
    net = model.DescriptorNet(REGIONS, TINY, L=2, mean=(10, 20, 30), colour='RGB')
    rows = np.vstack([net([cv2.imread(str(path))]) for path in sorted(folder.iterdir())])
    np.testing.assert_allclose(fitted['pooled_rois/shift'][1], -rows.mean(0), atol=1e-6)


@pytest.mark.parametrize('whitening', [0, 0.5])
def test_the_serial_layers_are_the_pca_of_the_descriptors(fit, folder, whitening):
    weights, out = fit('--proto', SERIAL, '--whitening', whitening)
    assert '12 directions of 12 images' in out
    rows = rows_of(folder, 'rmac/normalized')
    scale, shift = weights['pooled_rois/shift']
    assert (scale == 1).all()
    np.testing.assert_allclose(shift, -rows.mean(0), atol=1e-6)
    variances, vectors = np.linalg.eigh(np.cov(rows.T))
    matrix, bias = weights['pooled_rois/reduce']
    assert matrix.shape == (32, 128) and not bias.any() and not matrix[12:].any()
    # 12 rows less their mean span 11 directions; an eigenvector's sign is free
    for row, variance, vector in zip(matrix[:11], variances[::-1], vectors.T[::-1]):
        expected = vector / variance ** (whitening / 2)
        np.testing.assert_allclose(row * np.sign(row @ vector), expected, atol=2e-3 * abs(
            expected).max())
    original = nets.load_weights(TINY)
    for name in ('conv1', 'pooled_rois/centered', 'pooled_rois/pca'):
        for ours, theirs in zip(weights[name], original[name]):
            np.testing.assert_array_equal(ours, theirs)


def test_the_regions_projection_is_fitted_too(fit, folder):
    weights, _ = fit('--proto', REGIONS, '--centre', 'pooled_rois/centered', '--project',
                     'pooled_rois/pca', '--whitening', 1)
    rows = rows_of(folder, 'pooled_rois/normalized_flat')
    matrix = weights['pooled_rois/pca'][0][:20].astype(np.float64)
    projected = (rows + weights['pooled_rois/centered'][1]) @ matrix.T
    np.testing.assert_allclose(np.cov(projected.T), np.eye(20), atol=1e-3)


@pytest.mark.parametrize('flags, words', [
    (['--proto', SERIAL, '--centre', 'conv1'], ['conv1', 'Scale']),
    (['--proto', SERIAL, '--project', 'nothing'], ['nothing']),
    (['--proto', SERIAL, '--img_dir', 'nowhere'], ['nowhere']),
    (['--proto', SERIAL, '--weights', 'nowhere'], ['nowhere'])])
def test_a_users_mistake_is_one_line(flags, words, folder, tmp_path):
    done = run_script('myPython/fit_pca.py', '--gpu', -1, '--weights', TINY, '--img_dir', folder,
                      '--output', tmp_path / 'x', *flags)
    assert_one_line(done, *words)
    assert not (tmp_path / 'x').exists()
