"""docs/extending.md: all of it is added to a copy of the repository, and the tests run there."""

import os
import re
import shutil
import subprocess
import sys

import caffe
import cv2
import numpy as np
import pytest
import saved_set
from caffe.proto import caffe_pb2
from conftest import ROOT, assert_one_line
from google.protobuf import text_format
from tiny import PROTO, WEIGHTS

TEXT = (ROOT / 'docs/extending.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'```python\n# (\S+)\n(.*?)```', TEXT, re.S)
NET = 'tiny/offline/spoc/spoc_resnet_tiny_normpython.prototxt'
# the tests that know all layer types, nets, datasets, modules or scripts
OBJECTING = [
    'tests/engine/test_genuine_layers.py::test_no_type_of_genuine_caffe_is_lost',
    'tests/engine/test_gradients.py::test_the_gradient_of_every_type_is_checked',
    'tests/engine/test_net.py::test_layer_type_list_names_the_types',
    'tests/scripts/test_make_nets.py::test_every_param_str_is_a_yaml_mapping',
    'tests/scripts/test_make_nets.py::test_every_net_of_the_folder_is_in_the_table',
    'tests/scripts/test_rerank_script.py::test_help',
    'tests/toolkit/test_all_nets.py::test_every_net_and_solver_of_the_original_is_there_with_its_twin',
    'tests/toolkit/test_architecture.py',
    'tests/toolkit/test_dataset_helper.py',
    'tests/toolkit/test_subcommands.py::test_help_imports_nothing_heavy',
    f'tests/toolkit/test_tiny_nets.py::test_a_twin_to_deploy_describes_in_the_engine[{NET}]']


def insert(text, block):
    """The text of a module with what a block adds; `...` stands for the entries that are there."""
    head, table, entries = re.fullmatch(r'(.*?)^(\w+ = \{)\n    \.\.\.\n(.*)\}\n', block,
                                        re.S | re.M).groups()
    before, after = re.split(rf'^{re.escape(table)}\n', text, maxsplit=1, flags=re.M)
    known, rest = re.split(r'^\}\n', after, maxsplit=1, flags=re.M)
    return f'{before}{head}{table}\n{known}{entries}}}\n{rest}'


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """A copy of the tracked files with all that the page adds."""
    folder = tmp_path_factory.mktemp('extended') / 'copy'
    tracked = subprocess.run(['git', 'ls-files', '-z', '--cached', '--others',
                              '--exclude-standard'], cwd=ROOT, capture_output=True, text=True,
                             check=True).stdout
    for name in filter(None, tracked.split('\0')):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name, block in BLOCKS:
        path = folder / name
        path.write_text(insert(path.read_text(), block) if path.exists() else block)
    done = run(folder, 'proto/make_nets.py')
    assert done.returncode == 0, done.stderr
    return folder


def run(folder, *args):
    path = os.pathsep.join(str(folder / name) for name in ('pycaffe', 'myPython', '.'))
    return subprocess.run([sys.executable, *map(str, args)], cwd=folder, text=True,
                          capture_output=True, env={**os.environ, 'PYTHONPATH': path})


def test_every_section_has_its_blocks():
    sections = re.findall(r'^## (.*)', TEXT, re.M)
    assert len(sections) == 7 and len(BLOCKS) == 11
    assert len({name for name, _ in BLOCKS}) == len(BLOCKS)
    assert TEXT.count('```python') == len(BLOCKS)


def test_no_test_objects_and_those_of_the_page_pass(copy):
    own = [name for name, _ in BLOCKS if name.startswith('tests/')]
    done = run(copy, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', *own,
               *OBJECTING)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_net_describes(copy):
    assert (copy / 'proto/offline/spoc/spoc_resnet101_normpython.prototxt').is_file()
    net = caffe.Net(str(copy / 'proto' / NET), caffe.TEST)
    net.blobs['data'].reshape(1, 3, 64, 64)
    net.forward()
    assert net.blobs['spoc/normalized'].shape == (1, 256, 1, 1)


def test_the_dataset_is_recognized_and_scored(copy, tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / 'pairs'
    folder.mkdir()
    for thing in 'ab':
        pattern = rng.integers(0, 256, (64, 64, 3))
        for view in '12':
            cv2.imwrite(f'{folder}/{thing}{view}.png', pattern + rng.integers(0, 9, pattern.shape))
    (folder / 'pairs.txt').write_text('a1.png a2.png\nb1.png b2.png\n')
    done = run(copy, '-m', 'deep_retrieval', 'evaluate', folder, '--weights', WEIGHTS, '--proto',
               PROTO, '--S', 64, '--gpu', -1, '--cache', tmp_path / 'cache')
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith('mAP: 100.00 (VOC 2010)\n')
    done = run(copy, 'myPython/count_images.py', '--dataset', folder)
    assert done.stdout == f'{folder}: 4 images, 4 queries\n', done.stderr
    assert_one_line(run(copy, 'myPython/count_images.py', '--dataset', 'nowhere'),
                    'count_images.py: nowhere', 'pairs.txt (Pairs)')
    assert run(copy, 'myPython/count_images.py', '-h').returncode == 0


def test_the_method_ranks(copy, scorer, tmp_path):
    folder = saved_set.make(tmp_path / 'data')
    stem = saved_set.save_features(tmp_path / 'f/x', saved_set.opened(folder))
    done = run(copy, 'myPython/rerank.py', 'centred', '--share', 0.5, '--features', stem,
               '--dataset', folder, '--eval_binary', scorer, '--temp_dir', tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'centred gives' in done.stdout.splitlines()[-1]


def test_the_pooling_of_the_page_is_a_layer():
    text = re.search(r'```\n(layer .*?)```', TEXT, re.S)[1]
    layer, = text_format.Parse(text, caffe_pb2.NetParameter()).layer
    assert caffe.layer.param_count(layer) == 1
