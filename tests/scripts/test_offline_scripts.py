"""The scripts of myPython/offline as a user runs them, with the tiny nets."""

import os
import re
import runpy
import sys

import caffe
import numpy as np
import offline_case
import pytest
from conftest import ROOT, run_script
from deep_retrieval import metrics
from deep_retrieval.datasets import DATASETS
from deep_retrieval.studies import MAPS
from offline_case import (  # noqa: F401
    NETS,
    PROTO,
    PROTOS,
    TINY,
    S,
    folder,
    items_of,
    make_dataset,
    naive,
    naive_experiment,
    naive_features,
    naive_rmac,
    run_here,
    scorer,
)


@pytest.fixture
def script(monkeypatch, capsys, folder, scorer, tmp_path):  # noqa: F811
    """Function: a script below myPython/offline and its flags -> its status, stdout, stderr."""
    def run(name, *flags, proto=None):
        path = ROOT / 'myPython/offline' / name
        retrieval = ['--eval_binary', scorer, '--temp_dir', tmp_path / 'rankings']
        words = [path, '--gpu', -1, '--S', S, '--weights', TINY, '--dataset', folder,
                 '--proto', proto or PROTOS[path.parent.name], '--features_dir',
                 tmp_path / path.parent.name, *(retrieval if 'retrieval' in name else []), *flags]
        return run_here(monkeypatch, capsys, words)
    return run


def naive_mean(folder, rows):  # noqa: F811
    dataset = DATASETS['Oxford'](folder)
    rows = np.array(rows)
    similarities = rows[:2] @ rows[2:].T
    return 100 * np.mean([metrics.average_precision_oxford(
        [dataset.images[i] for i in np.argsort(-row, kind='stable')],
        *dataset.ground_truth(query)[::2]) for query, row in zip(dataset.queries, similarities,
                                                                strict=True)])


@pytest.mark.parametrize('name, flags, naive_args, words', [
    ('raw/raw_baseline_retrieval.py', ['--map', 16], ('raw_concat', (16,)), '1 map, 128-d)'),
    ('raw/raw_baseline_retrieval.py', ['--map', 'master'], ('raw_master_concat', (32,)), '128-d)'),
    ('raw/raw_concat_retrieval.py', [], ('raw_concat', MAPS['4']), '4 maps, 480-d)'),
    ('raw/raw_master_concat_retrieval.py', ['--maps', 2], ('raw_master_concat', MAPS['2']),
     '2 maps, 256-d)'),
    ('rmac_eltwise/rmac_eltwise_retrieval.py', ['--dim', 12], ('rmac_eltwise', MAPS['4'], 12),
     '4 maps, 128-d, PCA fitted to what is scored)'),
    ('pca_eltwise/pca_eltwise_retrieval.py', [], ('pca_eltwise', MAPS['4'], 128),
     '128-d, PCA fitted to '),
    ('pca_concat/pca_concat_retrieval.py', ['--maps', 2, '--branch_dim', 30],
     ('pca_concat', MAPS['2'], 30), '2 maps, 158-d, PCA fitted to what is scored)')])
def test_scripts_score_as_a_naive_computation(name, flags, naive_args, words, script,
                                              folder, naive):       # noqa: F811
    status, out, err = script(name, *flags)
    assert status == 0, err
    *lines, dashes, mean = out.splitlines()
    assert [line.split(': ')[0] for line in lines] == ['a_1', 'b_1'] and dashes == '-' * 20
    rows = naive_experiment(naive_args[0], naive[0] + naive[1], *naive_args[1:])
    assert float(mean.split()[1]) == pytest.approx(naive_mean(folder, rows), abs=0.011)
    assert words in mean and '(query_crop full, ' in mean


@pytest.mark.parametrize('chosen, key', [(16, 16), ('master', 'master')])
def test_three_resolutions_are_summed(chosen, key, script, folder, monkeypatch):    # noqa: F811
    net, rows = caffe.Net(str(PROTOS['raw']), str(TINY), caffe.TEST), 0
    for size in (32, 64, 96):
        monkeypatch.setattr(offline_case, 'S', size)
        images = [naive_features(net, item) for part in items_of(folder) for item in part]
        rows = rows + np.array([image[key] if key == 'master' else naive_rmac(image, key)
                                for image in images])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    status, out, err = script('raw/raw_baseline_retrieval.py', '--map', chosen, '--multires')
    assert status == 0, err
    mean = out.splitlines()[-1]
    assert float(mean.split()[1]) == pytest.approx(naive_mean(folder, rows), abs=0.011)
    assert mean.endswith(', sum of S 32, 64, 96)')


SCRIPTS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('myPython/offline/*/*.py'))


def test_there_are_ten_scripts():
    assert len(SCRIPTS) == 10


@pytest.mark.parametrize('name', SCRIPTS)
def test_defaults_are_the_repositorys_from_any_folder(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = ROOT / name
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.setattr(sys, 'argv', [str(path)])
    args = vars(runpy.run_path(str(path))['parse_args']())
    assert os.path.isfile(args['proto']) and f'{ROOT}/proto/offline/' in str(args['proto'])
    study = path.parent.name
    wanted = {'weights': 'caffemodel/model.caffemodel', 'dataset': 'datasets/Oxford',
              'features_dir': f'tmp/offline/{study}', 'eval_binary': 'eval/compute_ap',
              'temp_dir': f'tmp/offline/{study}/rankings'}
    found = {key: args[key] for key in wanted if key in args}
    assert found == {key: ROOT / wanted[key] for key in found}
    assert len(found) == (5 if 'retrieval' in name else 3)


@pytest.mark.parametrize('name', SCRIPTS)
def test_help_needs_nothing_heavy(name):
    done = run_script('-X', 'importtime', name, '-h')
    assert done.returncode == 0 and '--weights' in done.stdout
    imported = set(re.findall(r'\| +([\w.]+)$', done.stderr, re.M))
    assert 'deep_retrieval.cli' in imported
    assert not imported & {'torch', 'caffe', 'cv2', 'sklearn', 'scipy', 'numpy', 'yaml'}


@pytest.mark.parametrize('name', ['raw/raw_get_features.py', 'pca_concat/pca_get_features.py',
                                  'rmac_eltwise/rmac_eltwise_get_features.py',
                                  'pca_eltwise/pca_eltwise_get_features.py'])
def test_features_are_made_once(name, script, tmp_path):
    status, out, _ = script(name)
    assert status == 0
    assert re.search(r'/Oxford_S64_L2_[0-9a-f]{8}_dataset: 34 images, 245 regions; 256-d at stride '
                     '32, 128-d at ', out)
    assert out.splitlines()[0].endswith('descriptor 128-d')
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.npz')}
    assert len(made) == 3 and script(name)[1:] == (out, '')
    assert made == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*.npz')}


def test_a_pca_of_other_images(script, folder, naive, tmp_path):  # noqa: F811
    other = make_dataset(tmp_path / 'other', 40, seed=2)
    get, retrieve = 'pca_concat/pca_get_features.py', 'pca_concat/pca_concat_retrieval.py'
    script(get, '--dataset', other, '--features_dir', tmp_path / 'learned')
    path, = (tmp_path / 'learned').glob('Oxford_S64_L2_*_dataset')
    flags = ['--maps', 2, '--branch_dim', 9, '--pca_from']
    status, out, err = script(retrieve, *flags, path)
    assert status == 0 and out.splitlines()[-1].endswith(f', PCA fitted to {path})'), err
    net = caffe.Net(str(PROTO), str(TINY), caffe.TEST)
    rows = naive_experiment('pca_concat', naive[0] + naive[1], MAPS['2'], 9,
                            [naive_features(net, item) for item in items_of(other)[1]])
    mean = float(out.splitlines()[-1].split()[1])
    assert mean == pytest.approx(naive_mean(folder, rows), abs=0.011)
    saved, = (tmp_path / 'pca_concat').glob('Oxford_S64_L2_*_pca_concat_2_9.npz')
    again = script(retrieve, *flags, saved)
    assert again[0] == 0 and again[1].splitlines()[:3] == out.splitlines()[:3]
    status, _, err = script(retrieve, '--maps', 4, '--pca_from', saved)
    assert status == 1 and 'this PCA was made with other components, maps' in err
    status, _, err = script(retrieve, *flags, path, proto=PROTO)
    assert status == 1 and f'{path}: these features were made with another proto' in err


@pytest.mark.parametrize('name, flags, words', [
    ('rmac_eltwise/rmac_eltwise_retrieval.py', [],
     ['128 components need more than 128 images', 'only 36', '--dim 35']),
    ('pca_eltwise/pca_eltwise_retrieval.py', ['--dim', 129],
     ['--dim 129', 'at most its 128 dimensions']),
    ('pca_concat/pca_concat_retrieval.py', ['--dim', 36, '--branch_dim', 9], ['--dim 35']),
    ('pca_concat/pca_concat_retrieval.py', ['--pca_from', 'nowhere'], ['nowhere', 'no features']),
    ('pca_concat/pca_concat_retrieval.py', ['--pca_from', 'nowhere.npz'], ['nowhere.npz']),
    ('raw/raw_concat_retrieval.py', ['--weights', 'nowhere'], ['nowhere']),
    ('raw/raw_concat_retrieval.py', ['--proto', ROOT / 'proto/deploy_resnet_tiny.prototxt'],
     ['stride [32]', 'none of 16']),
    ('raw/raw_master_concat_retrieval.py',
     ['--proto', NETS / 'raw/raw_concat_resnet_tiny_normpython.prototxt'], ['rmac/normalized']),
    ('raw/raw_concat_retrieval.py', ['--proto', ROOT / 'proto/deploy_resnet101.prototxt'],
     ['tiny.caffemodel'])])
def test_a_users_mistake_is_one_line(name, flags, words, script):
    status, out, err = script(name, *flags)
    assert status == 1 and out == '' and 'Traceback' not in err
    for word in words:
        assert word in err.splitlines()[-1]
