"""The steps of the recipes: each is a script's command, run as a call of the library.

    step = Step('train', {'gpu': -1, 'solver': 'proto/x_solver.prototxt'}, ['caffemodel/x'])
    step.command()      # myPython/train.py --gpu -1 --solver proto/x_solver.prototxt
    step.run()

A step's flags are those of its script; they are the keyword arguments of its function in STEPS.
"""

import importlib.util
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from deep_retrieval import cli, paths


class Step(NamedTuple):
    """A step: its name in STEPS, its flags, and the files that it leaves."""

    name: str
    flags: dict
    makes: list

    def command(self) -> str:
        """Return the command that does the same, as a reader types it."""
        return shlex.join([*STEPS[self.name][0].split(), *words(self.flags)])

    def run(self) -> None:
        """Do the step in this process; RuntimeError if it does not leave what it should."""
        STEPS[self.name][1](**self.flags)
        for path in self.makes:
            if not os.path.exists(path):
                raise RuntimeError(f'{self.name}: left no {path}')


def words(flags: dict) -> list[str]:
    """Return flags as words of a command line: True is a bare flag, a list several words."""
    found = []
    for flag, value in flags.items():
        values = [] if value is True else value if isinstance(value, list) else [value]
        found += [f'--{flag}', *map(str, values)]
    return found


def make_demo(**flags):
    _call_script('datasets/make_demo.py', flags)


def make_training_demo(**flags):
    _call_script('datasets/make_training_demo.py', flags)


def make_demo_model(**flags):
    _call_script('caffemodel/make_demo_model.py', flags)


def _call_script(script, flags):
    """Call the `main` of a script whose work is not in the library, in this process."""
    spec = importlib.util.spec_from_file_location(Path(script).stem, paths.ROOT / script)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    argv, sys.argv = sys.argv, [script, *words(flags)]
    try:
        spec.loader.exec_module(module)
        module.main(module.parse_args())
    finally:
        sys.argv = argv
        del sys.modules[spec.name]


def train(solver, weights=(), cache_trunk=None, set=(), gpu=0):
    from deep_retrieval.training import solving
    cli.use_device(gpu)
    solver_file, log_file = solving.prepare(solver, set)
    with solving.logging_to(log_file):
        running = solving.make_solver(solver_file, weights, cache=cache_trunk)
        running.solve()
    if running.iter < running.param.max_iter:
        raise KeyboardInterrupt     # the solver has caught it, and has left a snapshot


def clip(proto, weights, output_proto, output, layer='pooled_rois/pca', new_layer=None, dim=None,
         mix_weights=None, mix_layer='pooled_rois/reduce'):
    from deep_retrieval.surgery import edit
    mix = edit.load_weights(mix_weights)[mix_layer][0] if mix_weights else None
    dim = dim if mix is None else len(mix)
    net, blobs = edit.clip(edit.read_net(proto), edit.load_weights(weights), layer, dim,
                           new_layer or f'{layer}_{dim}', mix=mix)
    edit.save_weights(output, net, blobs)
    edit.write_net(output_proto, net)


def save_teacher_weights(teacher_proto, weights, output):
    from deep_retrieval.surgery import branches, edit
    net = edit.read_net(teacher_proto)
    edit.save_weights(output, net, branches.branch_weights(net, edit.load_weights(weights)))


def make_features_lmdb(img_dir, proto, weights, train_proto, resize_height, resize_width, gpu=0):
    from deep_retrieval.convert_flags import TEACHER_END
    from deep_retrieval.training import teacher
    cli.use_device(gpu)
    lmdb, features, _ = teacher.places(train_proto)
    names = os.path.splitext(features)[0] + '.txt'
    teacher.teach(img_dir, proto, weights, features, names, end=TEACHER_END)
    teacher.make_lmdb(img_dir, names, lmdb, (resize_height, resize_width), cli.warn)


def fit_pca(proto, weights, img_dir, output, S, gpu=0):
    from deep_retrieval.model import DescriptorNet
    from deep_retrieval.surgery import pca_layers
    from deep_retrieval.training.teacher import images_of
    cli.use_device(gpu)
    centre, project = 'pooled_rois/shift', 'pooled_rois/reduce'
    net = DescriptorNet(proto, weights, 2, end=project, partial_weights=True)
    pca_layers.fit(net, [item.path for item in images_of(img_dir)], S, centre, project)
    net.net.save(output)


# step -> the command that a reader types, and the function that does the same
STEPS = {
    'make_demo': ('datasets/make_demo.py', make_demo),
    'make_training_demo': ('datasets/make_training_demo.py', make_training_demo),
    'make_demo_model': ('caffemodel/make_demo_model.py', make_demo_model),
    'train': ('myPython/train.py', train),
    'clip': ('myPython/model_tools.py clip', clip),
    'save_teacher_weights': ('myPython/model_tools.py save-teacher-weights', save_teacher_weights),
    'make_features_lmdb': ('myPython/convert/make_features_lmdb.py', make_features_lmdb),
    'fit_pca': ('myPython/fit_pca.py', fit_pca),
}


def score_covers(dataset, proto, weights, end, temp_dir, multires=False) -> float:
    """Return the mAP of VOC 2010, 0 to 1, of a net on a cover dataset, as test_on_cover.py does."""
    import caffe
    from deep_retrieval import evaluation
    from deep_retrieval.datasets import query_sets
    from deep_retrieval.image_means import COVER
    options = SimpleNamespace(
        gpu=0 if caffe.common.device().type == 'cuda' else -1, proto=proto, weights=weights, S=496,
        L=2, end=end, mean=COVER, partial_weights=False, multires=multires, batch_size=4,
        skip_bad=False, temp_dir=temp_dir)
    found = evaluation.describe(options, 'test_on_cover', *query_sets.cover(dataset))
    answers = [evaluation.judge(found, *ranked) for ranked in evaluation.rank(found)]
    return sum(answer.average_precision for answer in answers) / len(answers)
