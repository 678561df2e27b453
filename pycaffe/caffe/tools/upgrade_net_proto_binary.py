"""The command `upgrade_net_proto_binary`: upgrade an older .caffemodel.

    upgrade_net_proto_binary old.caffemodel new.caffemodel
"""

import sys

from ..proto import caffe_pb2
from ..proto.upgrade import upgrade_net
from .upgrade import upgrade_file


def main(argv=None):
    upgrade_file('upgrade_net_proto_binary', __doc__, caffe_pb2.NetParameter(), upgrade_net,
                 argv, binary=True)


if __name__ == '__main__':
    sys.exit(main())
