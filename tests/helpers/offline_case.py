"""What tests of the studies share: a small dataset, and scikit-learn image by image."""

import os
import runpy
import subprocess
import sys

import caffe
import cv2
import numpy as np
import pytest
from conftest import ROOT
from deep_retrieval.datasets import DATASETS
from deep_retrieval.extraction import Item
from deep_retrieval.images import MEAN
from deep_retrieval.studies.maps import MapNet, extract_maps
from region_generator import get_rmac_region_coordinates, pack_regions_for_network
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

TINY = ROOT / 'tests/data/genuine/tiny.caffemodel'
NETS = ROOT / 'proto/tiny/offline'
PROTO = NETS / 'pca/pca_features_resnet_tiny_normpython.prototxt'
PROTOS = {'raw': NETS / 'raw/raw_master_concat_resnet_tiny_normpython.prototxt',
          'rmac_eltwise': NETS / 'rmac/rmac_eltwise_resnet_tiny_normpython.prototxt',
          'pca_eltwise': PROTO,
          'pca_concat': NETS / 'pca/pca_concat_resnet_tiny_normpython.prototxt'}
S = 64


def make_dataset(folder, images, seed):
    """Random pictures in Oxford's layout, every fourth of them square, and two queries."""
    random = np.random.default_rng(seed)
    for part in ('jpg', 'lab'):
        (folder / part).mkdir(parents=True)
    for i in range(images):
        small = random.integers(0, 256, (8, 8, 3), np.uint8)
        size = (80, 80) if i % 4 == 0 else (96, 72)
        cv2.imwrite(str(folder / f'jpg/i{i:02d}.jpg'), cv2.resize(small, size))
    for name, image, good in (('a_1', 1, 'i03 i05 i08'), ('b_1', 4, 'i02 i09')):
        (folder / f'lab/{name}_query.txt').write_text(f'oxc1_i{image:02d} 8 8 60 60')
        for grade in ('good', 'ok', 'junk'):
            text = good if grade == 'good' else f'i{image:02d}' if grade == 'junk' else ''
            (folder / f'lab/{name}_{grade}.txt').write_text(text)
    return folder


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp('data') / 'small', 34, seed=0)


@pytest.fixture(scope='session')
def scorer(tmp_path_factory):
    binary = tmp_path_factory.mktemp('eval') / 'compute_ap'
    source = ROOT / 'eval/compute_ap.cpp'
    subprocess.run([os.environ.get('CXX', 'g++'), '-O1', '-o', binary, source], check=True)
    return binary


def items_of(folder, crop=False):
    dataset = DATASETS['Oxford'](folder)
    queries = [Item(query.image, dataset.image_path(query.image), query.box if crop else None)
               for query in dataset.queries]
    return queries, [Item(name, dataset.image_path(name)) for name in dataset.images]


@pytest.fixture(scope='session')
def branches(folder, tmp_path_factory):
    out, net = tmp_path_factory.mktemp('features'), MapNet(PROTO, TINY, L=2)
    return [extract_maps(lambda: net, items, S, str(out / part), {'L': 2})
            for part, items in zip(('queries', 'dataset'), items_of(folder), strict=True)]


@pytest.fixture(scope='session')
def naive(folder):
    """The net's output for each query and image: a dict per image, stride -> R x D, master -> D."""
    net = caffe.Net(str(PROTO), str(TINY), caffe.TEST)
    return [[naive_features(net, item) for item in items] for items in items_of(folder)]


NAMES = {32: 'pooled_rois/normalized', 16: 'pooled_rois_branch_16/normalized',
         8: 'pooled_rois_branch_8/normalized', 4: 'pooled_rois_branch_4/normalized'}


def naive_features(net, item):
    image = cv2.imread(item.path)
    ratio = S / max(image.shape[:2])
    image = cv2.resize(image, (round(image.shape[1] * ratio), round(image.shape[0] * ratio)))
    rois = pack_regions_for_network([get_rmac_region_coordinates(*image.shape[:2], 2)])
    net.blobs['data'].reshape(1, 3, *image.shape[:2])
    net.blobs['data'].data[...] = (image - MEAN).transpose(2, 0, 1)
    net.blobs['rois'].reshape(*rois.shape)
    net.blobs['rois'].data[...] = rois
    net.forward()
    found = {stride: net.blobs[name].data[:, :, 0, 0].copy() for stride, name in NAMES.items()}
    return {**found, 'master': net.blobs['rmac/normalized'].data.ravel().copy()}


def unit(vector):
    return vector / np.linalg.norm(vector)


class NaivePca:
    """scikit-learn's own scaler and PCA of a list of vectors, one vector at a time."""

    def __init__(self, vectors, dim=None):
        vectors = np.array(vectors, np.float64)
        self.scaler = StandardScaler().fit(vectors)
        scaled = self.scaler.transform(vectors)
        self.pca = PCA(dim or np.linalg.matrix_rank(scaled), whiten=True).fit(scaled)

    def __call__(self, vector):
        return self.pca.transform(self.scaler.transform(vector[None].astype(np.float64)))[0]


def naive_rmac(image, stride):
    return unit(sum(image[stride]))


def naive_sum(image, vectors, pca):
    return unit(sum(unit(pca(vector)) for vector in vectors(image)))


def together(parts):
    return unit(np.concatenate([len(part) * part for part in parts]))


def plus(master, row):
    return unit(master + np.concatenate([row, np.zeros(len(master) - len(row))]))


def naive_experiment(name, images, strides, dim=None, fitted=None):
    """The descriptors of all `images`; PCAs fitted to `fitted`, or to the same."""
    fitted = fitted or images
    middle = [stride for stride in strides if stride != 32]

    def joined(image):
        return np.hstack([image[stride] for stride in strides])

    def rmacs(image):
        return np.concatenate([naive_rmac(image, stride) for stride in strides])
    if name == 'raw_concat':
        return [together([naive_rmac(image, stride) for stride in strides]) for image in images]
    if name == 'raw_master_concat':
        return [together([image['master'] if stride == 32 else naive_rmac(image, stride)
                          for stride in strides]) for image in images]
    if name == 'rmac_eltwise':
        pca = NaivePca([rmacs(image) for image in fitted], dim)
        return [plus(image['master'], unit(pca(rmacs(image)))) for image in images]
    if name == 'pca_eltwise':
        pca = NaivePca([row for image in fitted for row in joined(image)], dim)
        return [plus(image['master'], naive_sum(image, joined, pca)) for image in images]
    pcas = [NaivePca([row for image in fitted for row in image[stride]], dim) for stride in middle]
    return [together([naive_sum(image, lambda image, stride=stride: image[stride], pca)
                      for stride, pca in zip(middle, pcas, strict=True)]
                     + [image['master']] * (32 in strides)) for image in images]


def run_here(monkeypatch, capsys, words):
    """Run a script in this process, which has everything imported already."""
    words = [str(word) for word in words]
    monkeypatch.setattr(sys, 'argv', words)
    monkeypatch.syspath_prepend(os.path.dirname(words[0]))
    capsys.readouterr()
    status = 0
    try:
        runpy.run_path(words[0], run_name='__main__')
    except SystemExit as error:
        status = error.code
    return status, *capsys.readouterr()
