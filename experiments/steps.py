"""The steps of the recipes: each stands for a script's command, but calls the library.

    step = Step('train', {'gpu': -1, 'solver': 'proto/x_solver.prototxt'}, ['caffemodel/x'])
    step.command()      # myPython/train.py --gpu -1 --solver proto/x_solver.prototxt
    step.run()

A step's flags are those of its script, passed as keyword arguments to its function in STEPS.
"""

import os
import shlex
from typing import NamedTuple

from deep_retrieval import cli, paths


class Step(NamedTuple):
    """A step: its name in STEPS, its flags, and the files that it makes."""

    name: str
    flags: dict
    makes: list

    def command(self) -> str:
        """Return the equivalent command, as a reader would type it."""
        return shlex.join([*STEPS[self.name][0].split(), *words(self.flags)])

    def run(self) -> None:
        """Run the step in this process; RuntimeError if an expected file is missing afterwards."""
        STEPS[self.name][1](**self.flags)
        for path in self.makes:
            if not os.path.exists(path):
                raise RuntimeError(f'{self.name}: left no {path}')


def words(flags: dict) -> list[str]:
    """Return flags as words of a command line: True becomes a bare flag, a list several words."""
    found = []
    for flag, value in flags.items():
        values = [] if value is True else value if isinstance(value, list) else [value]
        found += [f'--{flag}', *map(str, values)]
    return found


def make_demo(**flags):
    from deep_retrieval.scenes.demo import render_demo
    render_demo(flags.pop('output', paths.DATASETS / 'demo'), **flags)


def make_training_demo(**flags):
    from deep_retrieval.scenes.training_demo import render_training_demo
    render_training_demo(flags.pop('output', paths.DATASETS / 'tiny/landmark'), **flags)


def make_demo_model(proto, output, img_dir=None, dataset=paths.DATASETS / 'demo', gpu=-1, **flags):
    from deep_retrieval.surgery import demo_weights
    cli.use_device(gpu)
    demo_weights.make(proto, output, demo_weights.image_paths(dataset, img_dir), **flags)


def train(solver, weights=(), cache_trunk=None, set=(), gpu=0):
    from deep_retrieval.training import solving
    cli.use_device(gpu)
    done = solving.train(solver, weights=weights, settings=set, cache_trunk=cache_trunk)
    if not done.finished:
        raise KeyboardInterrupt     # the solver has caught Ctrl-C and written a snapshot


def clip(proto, weights, output_proto, output, layer='pooled_rois/pca', new_layer=None, dim=None,
         mix_weights=None, mix_layer='pooled_rois/reduce'):
    from deep_retrieval.surgery import tools
    mix = tools.read_mixtures(mix_weights, mix_layer) if mix_weights else None
    dim = dim if mix is None else len(mix)
    tools.ModelTools(proto, weights).assign_blob_data(
        [layer], [new_layer or f'{layer}_{dim}'], output_proto, output, dim, mix=mix)


def save_teacher_weights(teacher_proto, weights, output):
    from deep_retrieval.surgery.tools import ModelTools
    ModelTools(None, weights).save_teacher_network_weights(teacher_proto, output)


def make_features_lmdb(img_dir, proto, weights, train_proto, resize_height, resize_width, gpu=0):
    from deep_retrieval.training import student_data, teacher
    cli.use_device(gpu)
    lmdb, features, _ = student_data.places(train_proto)
    names = os.path.splitext(features)[0] + '.txt'
    teacher.teach(img_dir, proto, weights, features, names)
    student_data.make_lmdb(img_dir, names, lmdb, (resize_height, resize_width))


def fit_pca(proto, weights, img_dir, output, S, gpu=0):
    from deep_retrieval.surgery import pca_layers
    cli.use_device(gpu)
    pca_layers.fit_folder(proto, weights, img_dir, output, S=S, L=2, centre='pooled_rois/shift',
                          project='pooled_rois/reduce')


# step -> the command that a reader would type, and the equivalent function
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
    from deep_retrieval.datasets.folders import Covers
    from deep_retrieval.evaluate import evaluate
    from deep_retrieval.image_means import COVER
    from deep_retrieval.model import load_model
    model = load_model(weights, proto=proto, S=496, L=2, end=end, mean=COVER)
    return evaluate(model, Covers(dataset), name='test_on_cover',
                    multires='original' if multires else False, cache=temp_dir).mean
