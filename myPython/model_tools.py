#!/usr/bin/env python3
"""Look into nets and their weights, and make others of them.

    python myPython/model_tools.py clip --weights caffemodel/model.caffemodel --dim 512 \\
        --output_proto tmp/pca512.prototxt --output tmp/pca512.caffemodel

`model_tools.py -h` lists the subcommands, `model_tools.py SUBCOMMAND -h` the flags of one.
"""

import argparse
from pathlib import Path

from deep_retrieval import cli
from deep_retrieval.files import write_aside
from deep_retrieval.model import END
from deep_retrieval.paths import ROOT
from deep_retrieval.surgery import branches, edit, report
from deep_retrieval.surgery.torch_import import TORCH_MEAN, TORCH_STD, convert, read_state_dict


class ModelTools:
    """The original's methods, on the net in `proto` with the weights in `weights`."""

    def __init__(self, proto, weights=None, gpu=-1):
        self.proto, self.weights = proto, weights
        cli.use_device(gpu)

    def check_blob_shape(self):
        """Name -> shape of each blob and parameter."""
        return report.shapes(self.proto)

    def check_blob_data(self, layers=(), **image):
        """(name, statistics) of the layers' parameters, and of their blobs: nets.report.data."""
        return report.data(self.proto, self.weights, layers, **image)

    def compare_model(self, other_proto):
        """Names of the layers with parameters that differ: see nets.surgery.compare."""
        return edit.compare(self._net(), edit.read_net(str(other_proto)))

    def remove_learning_params(self, new_proto):
        """Write the net without any `param`."""
        edit.write_net(new_proto, edit.strip(self._net()))

    def add_learning_params(self, new_proto, l=None, h=None):
        """Write the net with lr_mult 0 from layer `l` to layer `h`: see nets.surgery.freeze."""
        edit.write_net(new_proto, edit.freeze(self._net(), l, h))

    def make_teacher_network(self, new_proto, **size):
        """Write the net three times, l_, m_ and h_: see nets.branches.make_teacher."""
        edit.write_net(new_proto, branches.make_teacher(self._net(), **size))

    def save_teacher_network_weights(self, teacher_proto, caffemodel):
        """Write the weights of a net that is made of copies of this one."""
        copies = edit.read_net(str(teacher_proto))
        weights = branches.branch_weights(copies, edit.load_weights(self.weights))
        edit.save_weights(caffemodel, copies, weights)

    def make_triplet_network(self, new_proto, **options):
        """Write the net three times, as it is, p_ and n_: see nets.branches.make_triplet."""
        edit.write_net(new_proto, branches.make_triplet(self._net(), **options))

    def clip_blob_data(self, layer, dim, rows=None):
        """The parameters of the InnerProduct `layer` with `dim` outputs, arrays."""
        weights = edit.load_weights(self.weights)
        return edit.clip(self._net(), weights, layer, dim, 'new', rows)[1]['new']

    def assign_blob_data(self, layers, new_layers, new_proto, new_weights, dim, rows=None,
                         mix=None):
        """Write net and weights in which each of `layers` has `dim` outputs and its new name."""
        net, weights = self._net(), edit.load_weights(self.weights)
        for layer, new_layer in zip(layers, new_layers, strict=True):
            net, weights = edit.clip(net, weights, layer, dim, new_layer, rows, mix)
        _write(new_proto, new_weights, net, weights)

    def _net(self):
        return edit.read_net(str(self.proto))


def shapes(args):
    """Print the shapes of all blobs and parameters."""
    for name, shape in ModelTools(args.proto).check_blob_shape().items():
        print(f'{name}\t{_dims(shape)}')


def data(args):
    """Print statistics of layers' parameters and, for an image, of their blobs."""
    tools = ModelTools(args.proto, args.weights, args.gpu)
    for name, values in tools.check_blob_data(args.layers, image=args.image, S=args.S, L=args.L):
        print('\t'.join([name, _dims(values.pop('shape')),
                         *(f'{key} {value:.6g}' for key, value in values.items())]))


def compare(args):
    """Print the layers with parameters that another net lacks, adds or has with other sizes."""
    for what, names in ModelTools(args.proto).compare_model(args.other).items():
        for name in names:
            print(f'{what}\t{name}')


def strip(args):
    """Remove all learning rates and names of shared parameters."""
    ModelTools(args.proto).remove_learning_params(args.output_proto)


def add(args):
    """Give Convolution, BatchNorm and Scale layers lr_mult 0, so that they do not learn."""
    ModelTools(args.proto).add_learning_params(args.output_proto, args.first, args.last)


def make_teacher(args):
    """Make the teacher of a deploy net: the net at three resolutions, l_, m_ and h_, summed."""
    ModelTools(args.proto).make_teacher_network(args.output_proto, height=args.height,
                                                width=args.width)


def save_teacher_weights(args):
    """Make the weights of a teacher or triplet net from those of the net that it copies."""
    ModelTools(None, args.weights).save_teacher_network_weights(args.teacher_proto, args.output)


def make_triplet(args):
    """Make the triplet net of a deploy net: the net for anchor, positive (p_), negative (n_)."""
    ModelTools(args.proto).make_triplet_network(
        args.output_proto, cls_dir=str(args.cls_dir), batch_size=args.batch_size,
        margin=args.margin, learn=args.learn)


def clip(args):
    """Keep the first outputs of a projection, or given ones: how a reduced student starts."""
    rows = None if args.rows is None else _integers(args.rows)
    mix = None if args.mix_weights is None else _mixtures(args.mix_weights, args.mix_layer)
    dim = args.dim if rows is None and mix is None else len(mix if rows is None else rows)
    ModelTools(args.proto, args.weights).assign_blob_data(
        [args.layer], [args.new_layer or f'{args.layer}_{dim}'], args.output_proto, args.output,
        dim, rows, mix)


def fold(args):
    """Fold BatchNorm and Scale into the convolutions: a smaller net that gives the same."""
    net, weights, gone = edit.fold(args.proto, args.weights)
    _write(args.output_proto, args.output, net, weights)
    print(f'{len(gone)} layers are folded, {len(net.layer)} left')


def import_torch(args):
    """Make net and weights from a PyTorch ResNet-50 or 101 in torchvision's layout."""
    net, weights, unused = convert(edit.read_net(str(args.proto)),
                                   read_state_dict(args.state_dict), args.mean, args.std)
    if unused:
        cli.warn(f'tensors that were not used: {", ".join(unused)}')
    _write(args.output_proto, args.output, net, weights)


def export_onnx(args):
    """Write a deploy net as ONNX, for any size, number of images and number of regions."""
    try:
        from deep_retrieval.surgery import onnx_export
    except ImportError as error:
        raise ValueError(f'{error}: pip install onnx') from None
    model = onnx_export.export(args.proto, args.weights, args.end)
    write_aside(args.output, lambda file: file.write(model.SerializeToString(deterministic=True)))


# flag -> its arguments for argparse; {mode} is the subcommand
FLAGS = {
    'proto': dict(default=ROOT / 'proto/deploy_resnet101.prototxt', help='prototxt of the net'),
    'weights': dict(default=ROOT / 'caffemodel/model.caffemodel', help='caffemodel of the net'),
    'output_proto': dict(default=ROOT / 'tmp/{mode}.prototxt', help='the prototxt to write'),
    'output': dict(default=ROOT / 'tmp/{mode}.caffemodel', help='the file to write'),
    'gpu': dict(type=int, default=-1, help='GPU to compute on; -1 for the CPU'),
    'layers': dict(nargs='+', default=(), metavar='LAYER', help='layers to look at; none for all'),
    'image': dict(metavar='FILE', help='run the net on this image and look at its blobs too'),
    'S': dict(type=cli.positive, default=512, help="pixels of the image's longer side"),
    'L': dict(type=cli.natural, default=2, help='levels of the rigid grid'),
    'other': dict(default=ROOT / 'proto/deploy_resnet101_normpython.prototxt',
                  help='prototxt of the net to compare with'),
    'first': dict(metavar='LAYER', help="first layer that stops learning; without it the net's"),
    'last': dict(metavar='LAYER', help="last layer that stops learning; without it the net's"),
    'height': dict(type=cli.positive, default=384, help='pixels of the middle resolution'),
    'width': dict(type=cli.positive, default=512, help='pixels of the middle resolution'),
    'teacher_proto': dict(default=ROOT / 'tmp/make-teacher.prototxt', help='the net of copies'),
    'cls_dir': dict(default='datasets/Paris/triplet/', help='folder of class folders'),
    'batch_size': dict(type=cli.positive, default=2, help='triplets of a batch in training'),
    'margin': dict(type=float, default=1, help='by how much the negative is to be farther'),
    'learn': dict(nargs='+', default=(), metavar='LAYER', help='layers that learn'),
    'layer': dict(default='pooled_rois/pca', help='the InnerProduct to clip'),
    'new_layer': dict(metavar='NAME', help='its new name; without it LAYER_DIM'),
    'dim': dict(type=cli.positive, default=512, help='how many of its first outputs to keep'),
    'rows': dict(metavar='FILE', help='text file of the outputs to keep, from 0, instead of --dim'),
    'mix_weights': dict(metavar='FILE', help='caffemodel with a layer whose rows say how to mix '
                                             'the outputs, instead of --dim'),
    'mix_layer': dict(default='pooled_rois/reduce', metavar='LAYER',
                      help='the InnerProduct layer of --mix_weights'),
    'state_dict': dict(default=ROOT / 'caffemodel/resnet101.pth',
                       help='.pth file, loaded as tensors alone, or .safetensors'),
    'mean': dict(type=float, nargs=3, default=TORCH_MEAN, metavar=('R', 'G', 'B'),
                 help='what the PyTorch net subtracts from its input, which is from 0 to 1'),
    'std': dict(type=float, nargs=3, default=TORCH_STD, metavar=('R', 'G', 'B'),
                help='and divides it by'),
    'end': dict(default=END, help='blob to give'),
}

# subcommand -> its function and flags
MODES = {
    'shapes': (shapes, 'proto'),
    'data': (data, 'proto weights layers image S L gpu'),
    'compare': (compare, 'proto other'),
    'strip': (strip, 'proto output_proto'),
    'add': (add, 'proto first last output_proto'),
    'make-teacher': (make_teacher, 'proto height width output_proto'),
    'save-teacher-weights': (save_teacher_weights, 'teacher_proto weights output'),
    'make-triplet': (make_triplet, 'proto cls_dir batch_size margin learn output_proto'),
    'clip': (clip, 'proto weights layer new_layer dim rows mix_weights mix_layer output_proto '
                   'output'),
    'fold': (fold, 'proto weights output_proto output'),
    'import-torch': (import_torch, 'proto state_dict mean std output_proto output'),
    'export-onnx': (export_onnx, 'proto weights end output'),
}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_subparsers(dest='mode', required=True, metavar='SUBCOMMAND')
    for mode, (function, flags) in MODES.items():
        sub = modes.add_parser(mode, help=function.__doc__, description=function.__doc__,
                               formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        for flag in flags.split():
            options = dict(FLAGS[flag])
            if flag.startswith('output'):
                options['default'] = str(options['default']).replace('{mode}', mode)
            sub.add_argument(f'--{flag}', **options)
    modes.choices['export-onnx'].set_defaults(output=str(ROOT / 'tmp/export-onnx.onnx'))
    return parser.parse_args()


def main(args):
    for flag in ('output_proto', 'output'):
        if hasattr(args, flag):
            Path(getattr(args, flag)).parent.mkdir(parents=True, exist_ok=True)
    MODES[args.mode][0](args)


def _write(proto, path, net, weights):
    edit.save_weights(path, net, weights)
    edit.write_net(proto, net)


def _dims(shape):
    return ' x '.join(map(str, shape)) or 'one number'


def _integers(path):
    """The integers in a text file, apart by spaces or lines."""
    try:
        return [int(word) for word in Path(path).read_text().split()]
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def _mixtures(path, layer):
    """The weights of an InnerProduct layer in a caffemodel."""
    weights = edit.load_weights(path)
    if layer not in weights or weights[layer][0].ndim != 2:
        raise ValueError(f'{path}: has no InnerProduct layer {layer!r}')
    return weights[layer][0]


if __name__ == '__main__':
    arguments = parse_args()
    with cli.user_errors():
        main(arguments)
