"""A small dataset in Oxford's layout with the features that test.py would save, and scripts run."""

import runpy
import sys
from types import SimpleNamespace

import cv2
import numpy as np
from conftest import ROOT
from deep_retrieval.datasets import DATASETS
from deep_retrieval.extraction import Item, extract

THINGS = ('bridge', 'mill', 'tower')
ABOUT = {'weights': 'abc', 'proto': 'def', 'L': 2, 'end': 'rmac/normalized'}


def net(images):
    """Descriptors without a network: the images made tiny, unit length, D = 24."""
    rows = np.array([cv2.resize(image, (4, 2), interpolation=cv2.INTER_AREA).ravel()
                     for image in images], np.float32) - 120
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make(folder, seed=0, views=6):
    """Render THINGS as coloured noise: `views` images each and a few others; returns the folder."""
    rng = np.random.default_rng(seed)
    (folder / 'jpg').mkdir(parents=True)
    (folder / 'lab').mkdir()
    for thing in (*THINGS, 'other'):
        pattern = rng.integers(0, 256, (4, 6, 3))
        for i in range(views):
            changed = pattern if thing != 'other' else rng.integers(0, 256, (4, 6, 3))
            noisy = np.clip(changed + rng.normal(0, 90, pattern.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f'jpg/{thing}_{i:06d}.png'),
                        cv2.resize(noisy, (48, 32), interpolation=cv2.INTER_NEAREST))
        if thing == 'other':
            continue
        lab = folder / 'lab'
        (lab / f'{thing}_1_query.txt').write_text(f'{thing}_000000 4 2 40 30\n')
        (lab / f'{thing}_1_good.txt').write_text(
            ''.join(f'{thing}_{i:06d}\n' for i in range(1, views - 1)))
        (lab / f'{thing}_1_ok.txt').write_text('')
        (lab / f'{thing}_1_junk.txt').write_text(f'{thing}_000000\n{thing}_{views - 1:06d}\n')
    return folder


def save_features(stem, dataset, S=48, crop=True, about=ABOUT, net=net):
    """STEM_queries.npy and STEM_dataset.npy, as test.py makes them with a net."""
    items = {'queries': [Item(query.image, dataset.image_path(query.image),
                              query.box if crop else None) for query in dataset.queries],
             'dataset': [Item(name, dataset.image_path(name)) for name in dataset.images]}
    for part, some in items.items():
        extract(net, some, S, f'{stem}_{part}.npy', about, batch_size=4)
    return str(stem)


def opened(folder):
    return DATASETS['Oxford'](folder)


def run(capsys, monkeypatch, script, *flags):
    """Run a script of the repository in this process; as conftest's run_script, but quick."""
    monkeypatch.setattr(sys, 'argv', [str(ROOT / script), *map(str, flags)])
    capsys.readouterr()
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
        status = 0
    except SystemExit as end:
        status = end.code
    text = capsys.readouterr()
    return SimpleNamespace(returncode=status, stdout=text.out, stderr=text.err)
