"""The commands that `killing` kills, on a tiny model and a few small images."""

import re
from pathlib import Path
from typing import NamedTuple

from killing import run, well

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / 'tests/data/genuine/tiny.caffemodel'
PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
NET = '''name: "small"
layer { name: "data" type: "ImageData" top: "data" top: "label" transform_param { mirror: true }
        image_data_param { source: "INPUTS/list.txt" batch_size: 3 shuffle: true
                           root_folder: "INPUTS/demo/jpg/" new_height: 12 new_width: 16 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        param { lr_mult: 0 } param { lr_mult: 0 }
        convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "tanh" type: "TanH" bottom: "conv" top: "tanh" }
layer { name: "ip" type: "InnerProduct" bottom: "tanh" top: "ip" inner_product_param { num_output: 3
        weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
'''
SOLVER = '''net: "INPUTS/net.prototxt" base_lr: 1e-5 lr_policy: "fixed" momentum: 0.9
max_iter: 6 display: 1 snapshot: 2 snapshot_prefix: "small" random_seed: 3
'''
STUDENT = '''layer { name: "data" type: "Data" top: "data" top: "label"
        data_param { source: "student/lmdb" batch_size: 2 backend: LMDB } }
layer { name: "features" type: "Python" bottom: "label" top: "features" python_param {
        module: "custom_layers" layer: "FeatureLayer"
        param_str: "{'features': 'student/features.npy'}" } }
'''


def last_run(path):
    """The last run's lines of a log, without what tells the time: date, time, thread and speed.

    A log is appended to, so that it has the lines of the killed run too.
    """
    text = re.sub(rb'(?m)^([IWE])\d{4} [\d:.]+ +\d+ ', rb'\1 ', path.read_bytes())
    lines = re.sub(rb'\([\d.e+-]+ iter/s, [\d.e+-]+s/\d+ iters\)', b'', text).splitlines()
    begins = [i for i, line in enumerate(lines) if b'] Solving ' in line]
    return lines[begins[-1]:]


def records(path):
    """The records of an LMDB: its pages depend on the order in which they were written."""
    import lmdb
    with lmdb.open(str(path.parent), readonly=True, lock=False) as environment, \
            environment.begin() as transaction:
        return dict(transaction.cursor())


def nothing(path):
    """Of a lock file, which has process ids."""
    return b''


LOG = (re.compile(r'.*\.log'), last_run)
CACHE = ((re.compile(r'trunk/data.mdb'), records),
         (re.compile(r'trunk/lock.mdb'), nothing))


class Command(NamedTuple):
    """A command line, and what has to be known to kill it.

    words : of the command line; INPUTS is the folder of inputs, and output goes into the current
        folder
    before : command lines that are run before it
    alike : of `killing.contents`
    """

    words: list
    before: tuple = ()
    alike: tuple = ()

    def filled(self, words, inputs):
        """Words of a command line, with paths."""
        words = [str(word).replace('INPUTS', str(inputs)) for word in words]
        return words if words[0] == '-m' else [str(ROOT / words[0]), *words[1:]]


def _demo(*flags):
    return ['datasets/make_demo.py', '--facades', 1, '--views', 2, '--distractors', 1, '--size',
            96, *flags]


def _model(*flags):
    return ['caffemodel/make_demo_model.py', '--proto', PROTO, '--img_dir', 'INPUTS/few',
            '--S', 64, '--components', 8, *flags]


def _shards(*flags):
    return ['myPython/convert/convert_images2shards.py', '--img_dir', 'INPUTS/demo/jpg',
            '--gpu', -1, '--proto', PROTO, '--weights', TINY, '--batch_size', 2, *flags]


def _test(*flags):
    return ['test.py', '--dataset', 'INPUTS/demo', '--gpu', -1, '--proto', PROTO, '--weights',
            TINY, '--temp_dir', 'tmp', '--eval_binary', 'INPUTS/compute_ap', *flags]


def _gallery(*flags):
    return ['myPython/make_gallery.py', 'groups', '--mapped', 'INPUTS/mapped.txt', '--images',
            'INPUTS/demo/jpg', '--output', 'gallery', '--thumb', 32, *flags]


def _train(*flags):
    return ['myPython/train.py', '--solver', 'INPUTS/solver.prototxt', '--gpu', -1, *flags]


def _groups(*flags):
    return ['myPython/check_on_cover.py', 'groups', '--mapped', 'INPUTS/mapped.txt',
            '--img_dir', 'INPUTS/demo/jpg', '--min_img_num_per_group', 1, '--output',
            'groups.txt', '--dst_dir', 'groups', '--run_groups', 1, '--jobs', 1, *flags]


COMMANDS = {
    'demo': Command(_demo('--output', 'demo')),
    'demo over another': Command(_demo('--output', 'demo', '--overwrite'),
                                 (_demo('--output', 'demo', '--seed', 1),)),
    'model': Command(_model('--output', 'model.caffemodel')),
    'model over another': Command(_model('--output', 'model.caffemodel'),
                                  (_model('--output', 'model.caffemodel', '--seed', 1),)),
    'test.py': Command(_test('--S', 64, '--aqe', 1, '--dbe', 1, '--picture', 'top.png')),
    'test.py multires': Command(_test('--S', 64, '--multires', 'original')),
    'shards': Command(_shards('--features_dir', 'features', '--shard_size', 4, '--S', 64,
                              '--multires', 'original')),
    'shards over others': Command(
        _shards('--features_dir', 'features', '--shard_size', 4, '--S', 64, '--overwrite'),
        (_shards('--features_dir', 'features', '--shard_size', 3, '--S', 48),)),
    'mapped file': Command(['myPython/convert/features2mapped.py', '--features', 'INPUTS/features',
                            '--threshold', 0.1, '--gpu', -1, '--output', 'mapped.txt']),
    'features LMDB': Command(
        ['myPython/convert/make_features_lmdb.py', '--img_dir', 'INPUTS/few', '--gpu', -1,
         '--weights', 'INPUTS/teacher.caffemodel', '--train_proto', 'INPUTS/student.prototxt',
         '--S', 64]),
    'groups': Command(_groups()),
    'groups over others': Command(_groups('--overwrite'), (_groups('--run_groups', 2),)),
    'sweep': Command(['myPython/check_on_cover.py', 'sweep', '--mapped', 'INPUTS/mapped.txt',
                      '--queries_file', 'INPUTS/mapped.txt', '--low', '0.2', '--high', '0.9',
                      '--step', '0.1', '--csv', 'sweep.csv', '--plot', 'sweep.png']),
    'index': Command(['myPython/search_index.py', 'build', '--features', 'INPUTS/features',
                      '--index', 'index']),
    'gallery': Command(_gallery()),
    'gallery over another': Command(_gallery(), (_gallery('--per_page', 1, '--top', 1),)),
    'training': Command(_train('--plot', 'loss.png'), alike=(LOG,)),
    'training with a trunk cache': Command(_train('--cache_trunk', 'trunk'),
                                           alike=(LOG, *CACHE)),
    'training in HDF5': Command(_train('--set', 'solver.snapshot_format=HDF5'), alike=(LOG,)),
    'PCA layers': Command(
        ['myPython/fit_pca.py', '--proto',
         ROOT / 'proto/tiny/reduce/serial/deploy_resnet_tiny_pca32.prototxt', '--weights', TINY,
         '--img_dir', 'INPUTS/demo/jpg', '--S', 64, '--gpu', -1, '--output',
         'start.caffemodel']),
    'whitening': Command(
        ['myPython/offline/pca_eltwise/pca_eltwise_retrieval.py', '--gpu', -1, '--S', 64,
         '--proto', ROOT / 'proto/tiny/offline/pca/pca_features_resnet_tiny_normpython.prototxt',
         '--weights', TINY, '--dataset', 'INPUTS/demo', '--features_dir', 'features', '--temp_dir',
         'rankings', '--eval_binary', 'INPUTS/compute_ap', '--maps', 'middle', '--dim', 4]),
    'python -m deep_retrieval groups': Command(
        ['-m', 'deep_retrieval', 'groups', 'INPUTS/demo/jpg', '--gpu', -1, '--proto', PROTO,
         '--weights', TINY, '--S', 64, '--cache', 'cache', '--threshold', 0.1]),
}


def make_inputs(folder: Path, scorer: Path) -> None:
    """Make what the commands read. scorer : the compiled compute_ap"""
    folder.mkdir(parents=True)
    for name, text in (('net', NET), ('solver', SOLVER), ('student', STUDENT)):
        (folder / f'{name}.prototxt').write_text(text.replace('INPUTS', str(folder)))
    (folder / 'compute_ap').symlink_to(scorer)
    made = Command([])
    (folder / 'few').mkdir()
    for words in (_demo('--output', 'INPUTS/demo', '--facades', 2, '--views', 3, '--distractors',
                        3),
                  _shards('--features_dir', 'INPUTS/features', '--S', 64),
                  ['myPython/convert/features2mapped.py', '--features', 'INPUTS/features',
                   '--threshold', 0.1, '--gpu', -1, '--output', 'INPUTS/mapped.txt'],
                  ['tests/helpers/teacher.py', 'INPUTS/teacher.caffemodel']):
        well(run(made.filled(words, folder), folder))
    names = sorted(path.name for path in (folder / 'demo/jpg').iterdir())
    for name in names[:3]:
        (folder / 'few' / name).symlink_to(folder / 'demo/jpg' / name)
    (folder / 'list.txt').write_text(''.join(f'{name} {i % 3}\n' for i, name in enumerate(names)))
