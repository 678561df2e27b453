"""The Paris buildings dataset (Philbin et al., CVPR 2008), laid out as the Oxford dataset is."""
from .oxford_helper import OxfordHelper

# damaged files of the distributed archives
DAMAGED = frozenset('''
    paris_louvre_000136 paris_louvre_000146 paris_moulinrouge_000422 paris_museedorsay_001059
    paris_notredame_000188 paris_pantheon_000284 paris_pantheon_000960 paris_pantheon_000974
    paris_pompidou_000195 paris_pompidou_000196 paris_pompidou_000201 paris_pompidou_000467
    paris_pompidou_000640 paris_sacrecoeur_000299 paris_sacrecoeur_000330 paris_sacrecoeur_000353
    paris_triomphe_000662 paris_triomphe_000833 paris_triomphe_000863 paris_triomphe_000867
'''.split())


class ParisHelper(OxfordHelper):
    """The dataset in a folder, without its 20 damaged images."""

    ignored = DAMAGED
