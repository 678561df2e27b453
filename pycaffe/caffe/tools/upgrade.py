"""Shared by the commands that upgrade files."""

import sys

from google.protobuf import text_format

from ..files import naming, read_message, write_aside
from ..proto.upgrade import read_prototxt
from .flags import FlagParser, user_errors


def upgrade_file(command, description, message, upgrade, argv, binary=False):
    """Read the command's first file as `message`, `upgrade` it in place and write the second.

    A file that is up to date is copied unchanged, as in Caffe, with a note on stderr.
    """
    parser = FlagParser(prog=command, description=description.splitlines()[0])
    parser.add_argument('input_file', metavar='INPUT_FILE', help='file of an older Caffe')
    parser.add_argument('output_file', metavar='OUTPUT_FILE', help='upgraded file to write')
    args = parser.parse_args(argv)
    with user_errors(command):
        if binary:
            read_message(args.input_file, message, 'binary net')
        else:
            read_prototxt(args.input_file, message)
        older = type(message).FromString(message.SerializeToString())
        with naming(args.input_file):
            upgrade(message)
        if message == older:
            print(f'{command}: {args.input_file}: is up to date already', file=sys.stderr)
        write_aside(args.output_file, [message.SerializeToString() if binary
                                       else text_format.MessageToString(message).encode()])
