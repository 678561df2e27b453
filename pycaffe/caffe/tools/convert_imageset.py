"""The command `convert_imageset`: write the images of a list to an LMDB, for a Data layer.

    convert_imageset --resize_height=256 --resize_width=256 --shuffle images/ train.txt train_lmdb

Each line of the list has a path, to which ROOTFOLDER is prepended, a space and an integer label.
Images that cannot be read are reported on stderr and left out, as in Caffe.
"""

import os
import sys

import torch
from tqdm import tqdm

from ..database import check_backend, write_database
from ..datum import encode_image, image_to_datum, read_bytes, read_image, read_list
from ..errors import CaffeError
from ..log import WARNING, log
from ..proto import caffe_pb2
from .flags import FlagParser, user_errors

SWITCHES = {
    'gray': 'read images as grayscale',
    'shuffle': 'shuffle the list',
    'check_size': 'refuse images of different sizes',
    'encoded': 'store encoded files (PNG, JPEG...) instead of pixels',
}


def records(pairs, args):
    """Yield (key, serialized Datum) for each image of the list that can be read."""
    size = ((args.resize_height, args.resize_width)
            if args.resize_height > 0 and args.resize_width > 0 else None)
    first = None
    for index, (name, label) in enumerate(tqdm(pairs, unit='image', disable=None)):
        path = args.rootfolder + name
        try:
            image = read_image(path, not args.gray, size)
        except CaffeError as error:
            log(f'left out: {error}', WARNING)
            continue
        first = first or image.shape
        if args.check_size and image.shape != first:
            raise CaffeError(f'{path}: has shape {image.shape}, but the first image {first}')
        datum = make_datum(path, image, label, size, args)
        key = os.fsencode(f'{index:08d}_{name}')
        yield key, datum.SerializeToString()
    if first is None:
        raise CaffeError(f'{args.listfile}: none of its {len(pairs)} images can be read')


def make_datum(path, image, label, size, args):
    """Return the Datum of an image: raw, or encoded, with the file's own bytes if possible."""
    extension = os.path.splitext(path)[1][1:].lower()
    wanted = args.encode_type.lower() or extension
    if not (args.encoded or args.encode_type):
        return image_to_datum(image, label)
    as_it_is = size is None and (wanted == extension or (wanted, extension) == ('jpg', 'jpeg'))
    data = read_bytes(path) if as_it_is else encode_image(image, wanted)
    return caffe_pb2.Datum(data=data, label=label, encoded=True)


def parse_args(argv=None):
    parser = FlagParser(prog='convert_imageset', description=__doc__.splitlines()[0])
    parser.add_argument('rootfolder', metavar='ROOTFOLDER/', help='prepended to each path as it is')
    parser.add_argument('listfile', metavar='LISTFILE', help='lines of `path label`')
    parser.add_argument('db_name', metavar='DB_NAME', help='the LMDB to write; must not exist')
    for name, help in SWITCHES.items():
        parser.add_switch(name, help)
    parser.add_argument('--backend', default='lmdb', help='kind of database: lmdb')
    parser.add_argument('--resize_width', type=int, default=0, help='pixels; 0 to keep the width')
    parser.add_argument('--resize_height', type=int, default=0,
                        help='pixels; 0 to keep the height')
    parser.add_argument('--encode_type', default='',
                        help="file type to store, png or jpg; by default the image's own")
    parser.add_argument('--seed', type=int, default=0, help='seed of --shuffle')
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    with user_errors('convert_imageset'):
        check_backend(args.backend)
        pairs = read_list(args.listfile)
        if args.shuffle:
            order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(args.seed))
            pairs = [pairs[index] for index in order.tolist()]
        log(f'A total of {len(pairs)} images.')
        count = write_database(args.db_name, records(pairs, args))
        log(f'Processed {count} files.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
