"""Procedural facades and photographs of them: what the generated datasets are made of.

    style = random_style(np.random.default_rng(0))
    view = render_view(render_facade(style), np.random.default_rng(1), size=1024)

Read drawing.py (surfaces), buildings.py (what is built), views.py (how it is photographed).
"""

from .buildings import Facade, Style, look_alike, random_style, render_facade
from .views import (View, grade, render_distractor, render_view, strange_facade,
                    visible_share)
