"""The command `upgrade_solver_proto_text`: upgrade the prototxt of an older solver.

    upgrade_solver_proto_text old.prototxt new.prototxt
"""

import sys

from ..proto import caffe_pb2
from ..proto.upgrade import upgrade_solver
from .upgrade import upgrade_file


def main(argv=None):
    upgrade_file('upgrade_solver_proto_text', __doc__, caffe_pb2.SolverParameter(), upgrade_solver,
                 argv)


if __name__ == '__main__':
    sys.exit(main())
