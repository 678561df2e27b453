"""The tiny net and its recorded weights."""

from conftest import ROOT

WEIGHTS = ROOT / 'tests/data/genuine/tiny.caffemodel'
PROTO = ROOT / 'proto/deploy_resnet_tiny.prototxt'
