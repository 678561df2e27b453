"""The command `compute_image_mean`: the mean image of an LMDB, for `mean_file`.

    compute_image_mean train_lmdb mean.binaryproto

Prints the mean of each channel, for `mean_value`.
"""

import os
import sys

import numpy as np
from tqdm import tqdm

from ..database import Database, check_backend, show_key
from ..datum import datum_to_image, parse_datum
from ..errors import CaffeError
from ..files import naming, write_aside
from ..proto import caffe_pb2
from .flags import FlagParser, user_errors


def mean_image(source):
    """Return the mean of a database's images, C x H x W; summed in float32, as in Caffe."""
    database = Database(source)
    total = None
    for key, value in tqdm(database, unit='image', disable=None):
        with naming(f'{source}: {show_key(key)}'):
            image = datum_to_image(parse_datum(value))
            if total is None:
                total = np.zeros(image.shape, np.float32)
            if image.shape != total.shape:
                raise CaffeError(f'has shape {image.shape}, but the first image {total.shape}')
        total += image
    return total / np.float32(len(database))


def write_mean(path, mean):
    channels, height, width = mean.shape
    blob = caffe_pb2.BlobProto(num=1, channels=channels, height=height, width=width,
                               data=mean.ravel().tolist())
    write_aside(path, [blob.SerializeToString()])


def parse_args(argv=None):
    parser = FlagParser(prog='compute_image_mean', description=__doc__.splitlines()[0])
    parser.add_argument('input_db', metavar='INPUT_DB', help='the LMDB')
    parser.add_argument('output_file', metavar='OUTPUT_FILE', nargs='?',
                        help='the BlobProto to write, which must not exist; without it, only print')
    parser.add_argument('--backend', default='lmdb', help='kind of database: lmdb')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    with user_errors('compute_image_mean'):
        check_backend(args.backend)
        if args.output_file and os.path.lexists(args.output_file):
            raise CaffeError(f'{args.output_file}: exists already; remove it or choose another '
                             'name')
        mean = mean_image(args.input_db)
        if args.output_file:
            write_mean(args.output_file, mean)
        print(f'Number of channels: {len(mean)}')
        for index, channel in enumerate(mean):
            # pixel by pixel in float32, as Caffe does; NumPy's sum would round differently
            value = np.cumsum(channel, dtype=np.float32)[-1] / np.float32(channel.size)
            print(f'mean_value channel [{index}]: {value:g}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
