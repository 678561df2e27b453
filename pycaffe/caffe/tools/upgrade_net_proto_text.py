"""The command `upgrade_net_proto_text`: upgrade the prototxt of an older net.

    upgrade_net_proto_text old.prototxt new.prototxt
"""

import sys

from ..proto import caffe_pb2
from ..proto.upgrade import upgrade_net
from .upgrade import upgrade_file


def main(argv=None):
    upgrade_file('upgrade_net_proto_text', __doc__, caffe_pb2.NetParameter(), upgrade_net,
                 argv)


if __name__ == '__main__':
    sys.exit(main())
