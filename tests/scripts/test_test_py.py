"""test.py as a user runs it, with the tiny net on a small rendered dataset."""

import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from caffe.proto import caffe_pb2
from conftest import ROOT, assert_one_line, run_script
from deep_retrieval import images, model
from deep_retrieval.datasets import DATASETS
from naive_scores import naive_precisions, within
from tiny import PROTO
from tiny import WEIGHTS as TINY


@pytest.fixture
def run(small, scorer, tmp_path):
    def run(*flags, **kwargs):
        return run_script('test.py', '--gpu', -1, '--S', 128, '--proto', PROTO, '--weights', TINY,
                          '--dataset', small, '--eval_binary', scorer,
                          '--temp_dir', tmp_path / 'tmp', *flags, **kwargs)
    return run


@pytest.fixture
def copy(small, tmp_path):
    """A copy of the dataset to be damaged."""
    return Path(shutil.copytree(small, tmp_path / 'copy'))


@pytest.mark.parametrize('flags, options', [
    ([], {}), (['--query_crop', 'full'], {'crop': False}), (['--L', '1'], {'L': 1}),
    (['--S', '256', '--multires', '--aqe', '1', '--dbe', '5'],
     {'S': 256, 'scales': (-250, 0, 250), 'aqe': 1, 'dbe': 5})])
def test_scores_equal_a_naive_computation(flags, options, run, small):
    if '--multires' in flags:       # the smallest scale is 6 pixels; there both read it alike
        flags[1] = '300'
        options = {**options, 'S': 300}
    done = run(*flags)
    assert done.returncode == 0, done.stderr
    *lines, dashes, mean = done.stdout.splitlines()
    expected = naive_precisions(DATASETS['Oxford'](small), **{'S': 128, **options})
    assert [line.split(': ')[0] for line in lines] == sorted(expected)
    for line in lines:
        name, value = line.split(': ')
        assert re.fullmatch(r'\d+\.\d\d', value)
        assert within(float(value), expected[name])
    assert dashes == '-' * 20
    crop = 'full' if 'full' in flags else 'roi'
    shown = re.fullmatch(rf'Mean: (\d+\.\d\d) \(query_crop {crop}\)', mean)
    assert within(float(shown[1]), np.mean(list(expected.values()), axis=0))


def test_files_names_and_cache(run, tmp_path):
    first = run()
    assert first.stderr == ''
    files = sorted(os.listdir(tmp_path / 'tmp'))
    dataset, queries = (name for name in files if name.endswith('.npy'))
    model = re.fullmatch(r'Oxford_S128_L2_([0-9a-f]{8})_dataset.npy', dataset)[1]
    assert queries == f'Oxford_S128_L2_{model}_queries.npy'
    assert [name for name in files if name.endswith('.rnk')] == [
        'harbour_gate_1.rnk', 'mill_lane_1.rnk', 'weavers_hall_1.rnk']
    assert not [name for name in files if name.endswith(('.part', '.aside'))]
    stored = np.load(tmp_path / 'tmp' / dataset)
    assert stored.shape == (27, 128) and stored.dtype == np.float32
    second = run()
    assert second.stdout == first.stdout and second.stderr == ''
    before = (tmp_path / 'tmp' / queries).read_bytes()
    other = run('--query_crop', 'full')
    assert other.stdout != first.stdout and other.stderr == ''
    assert (tmp_path / 'tmp' / queries).read_bytes() == before
    assert (tmp_path / f'tmp/Oxford_S128_L2_{model}_queries_full.npy').exists()


def test_other_weights_have_files_of_their_own(run, tmp_path):
    first = run()
    before = {path.name: path.read_bytes() for path in (tmp_path / 'tmp').glob('*.npy')}
    weights = caffe_pb2.NetParameter.FromString(TINY.read_bytes())
    next(layer for layer in weights.layer if layer.blobs).blobs[0].data[0] += 1
    path = tmp_path / 'other.caffemodel'
    path.write_bytes(weights.SerializeToString())
    other = run('--weights', path)
    assert other.returncode == 0 and other.stdout != first.stdout
    files = {path.name: path.read_bytes() for path in (tmp_path / 'tmp').glob('*.npy')}
    assert len(files) == 4 and before.items() < files.items()


def test_a_gpu_that_is_not_there_is_one_warning(run):
    done = run('--gpu', 77)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [done.stderr.strip()] and 'on the CPU' in done.stderr


def test_the_picture(run, tmp_path):
    assert run('--picture', tmp_path / 'p.png', '--picture_queries', 2).returncode == 0
    image = cv2.imread(str(tmp_path / 'p.png'))
    assert image.shape[1] > 6 * 200 and image.shape[0] > 2 * 150


def test_runs_from_any_folder(small, scorer, tmp_path):
    done = run_script(ROOT / 'test.py', '--gpu', -1, '--S', 64, '--proto', PROTO, '--weights', TINY,
                      '--dataset', small, '--eval_binary', scorer, '--temp_dir', 'here',
                      cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / 'here').is_dir()


def damage(copy, name='mill_lane_000003'):
    path = copy / 'jpg' / f'{name}.jpg'
    path.write_bytes(path.read_bytes()[:-300])


def test_a_truncated_image(run, copy, tmp_path):
    damage(copy)
    assert_one_line(run('--dataset', copy), 'mill_lane_000003.jpg', 'truncated')
    assert not [name for name in os.listdir(tmp_path / 'tmp')
                if name == 'Oxford_S128_L2_dataset.npy']
    done = run('--dataset', copy, '--skip_bad')
    assert done.returncode == 0 and '1 of 27 images are left out' in done.stderr
    ranked = (tmp_path / 'tmp/mill_lane_1.rnk').read_text().split()
    assert len(ranked) == 26 and 'mill_lane_000003' not in ranked


def test_a_damaged_query(run, copy):
    damage(copy, DATASETS['Oxford'](copy).queries[0].image)
    done = run('--dataset', copy, '--skip_bad')
    assert done.returncode == 0 and 'left out of the mean: harbour_gate_1' in done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_strange_images_are_described(run, copy):
    rng = np.random.default_rng(0)
    for name, shape in (('dot', (1, 1)), ('thin', (2, 300)), ('grey', (90, 120)),
                        ('alpha', (90, 120, 4))):
        cv2.imwrite(str(copy / f'jpg/{name}.png'), rng.integers(0, 256, shape, np.uint8))
    done = run('--dataset', copy)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('flags, words', [
    (['--dataset', 'nowhere'], ['nowhere']),
    (['--weights', 'nowhere.caffemodel'], ['nowhere.caffemodel']),
    (['--proto', 'nowhere.prototxt'], ['nowhere.prototxt']),
    (['--eval_binary', 'nowhere'], ['nowhere', 'make install']),
    (['--proto', ROOT / 'proto/deploy_resnet101.prototxt'], ['tiny.caffemodel', 'conv1', 'shape']),
    (['--S', '100', '--multires'], ['three resolutions', '250']),
    (['--dbe', '99'], ['--dbe 99', '26']), (['--aqe', '0'], ['--aqe']), (['--S', 'big'], ['--S']),
    (['--temp_dir', os.devnull], [os.devnull])])
def test_a_users_mistake_is_one_line(flags, words, run):
    done = run(*flags)
    assert_one_line(done, *words)
    assert done.stdout == ''


@pytest.mark.parametrize('change, words', [
    (lambda copy: shutil.rmtree(copy / 'lab'), ['lab']),
    (lambda copy: next((copy / 'jpg').glob('mill_lane_000001*')).unlink(),
     ['mill_lane_1_query.txt', 'mill_lane_000001'])])
def test_a_broken_dataset_is_one_line(change, words, run, copy):
    change(copy)
    assert_one_line(run('--dataset', copy), *words)


def test_a_broken_prototxt_is_one_line(run, tmp_path):
    path = tmp_path / 'net.prototxt'
    path.write_text(PROTO.read_text().replace('pooled_w', 'pooled_width', 1))
    assert_one_line(run('--proto', path), 'net.prototxt:', 'pooled_width')
    path.write_text(PROTO.read_text().replace('"ROIPooling"', '"RoiPool"', 1))
    assert_one_line(run('--proto', path), 'net.prototxt', 'pooled_rois', 'RoiPool', 'Convolution')


def test_a_scorer_that_fails_is_one_line(run, tmp_path):
    scorer = tmp_path / 'compute_ap'
    scorer.write_text('#!/bin/sh\necho no such luck >&2\nexit 3\n')
    scorer.chmod(0o755)
    assert_one_line(run('--eval_binary', scorer), 'status 3', 'no such luck')


def test_a_full_disk_leaves_nothing_half_written(small, scorer, tmp_path):
    """A limit on the size of files stands for the disk: writing fails in the same place."""
    script = ('import resource, runpy, sys\n'
              'resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n'
              f'sys.argv[0] = {str(ROOT / "test.py")!r}\n'
              'runpy.run_path(sys.argv[0], run_name="__main__")\n')
    wrapper = tmp_path / 'wrapper.py'
    wrapper.write_text(script)
    done = run_script(wrapper, '--gpu', -1, '--S', 64, '--proto', PROTO, '--weights', TINY,
                      '--dataset', small, '--eval_binary', scorer, '--temp_dir', tmp_path / 'tmp')
    assert_one_line(done, 'Oxford_S64_L2', 'File too large')
    assert 'Oxford_S64_L2_dataset.npy' not in os.listdir(tmp_path / 'tmp')
    again = run_script('test.py', '--gpu', -1, '--S', 64, '--proto', PROTO, '--weights', TINY,
                       '--dataset', small, '--eval_binary', scorer, '--temp_dir', tmp_path / 'tmp')
    assert again.returncode == 0, again.stderr


def test_help_explains_every_flag():
    text = ' '.join(run_script('test.py', '--help').stdout.split())
    for flag in ('--gpu', '--S', '--L', '--proto', '--weights', '--dataset', '--dataset_name',
                 '--eval_binary', '--temp_dir', '--multires', '--aqe', '--dbe', '--query_crop',
                 '--batch_size', '--skip_bad'):
        assert flag in text


def test_demo_weights_fit_the_net_and_are_repeatable(small, tmp_path):
    """make_demo_model.py with the tiny net: the script needs no other names than its own."""
    outputs = []
    for name in ('a', 'b'):
        path = tmp_path / f'{name}.caffemodel'
        done = run_script('caffemodel/make_demo_model.py', '--proto', PROTO, '--dataset', small,
                          '--output', path, '--S', 96, '--components', 16)
        assert done.returncode == 0, done.stderr
        assert 'untrained' in done.stderr
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1]
    again = run_script('caffemodel/make_demo_model.py', '--proto', PROTO, '--dataset', small,
                       '--output', path, '--S', 96, '--components', 16)
    assert 'exists already' in again.stderr
    net = model.DescriptorNet(PROTO, path, L=2)
    dataset = DATASETS['Oxford'](small)
    rows = []
    for name in dataset.images:
        if name.startswith(('oldtown', 'riverside', 'station')):
            net([images.resize(images.read_image(dataset.image_path(name)), 96)[0]])
            rows.append(net.net.blobs['pooled_rois/pca'].data.copy())
    rows = np.vstack(rows)
    # what the PCA was fitted to is centred and white in the directions that are kept
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(np.cov(rows.T)[:16, :16], np.eye(16), atol=2e-2)
    assert not rows[:, 16:].any()
    note = json.loads(path.with_suffix('.json').read_text())
    assert note['learned_from']['components'] == 16 and note['trained'] is False
    assert note['dimension'] == 128 and note['net'] == 'proto/deploy_resnet_tiny.prototxt'
