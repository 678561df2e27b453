"""Procedural facades and photographs of them, for the generated datasets.

    style = random_style(np.random.default_rng(0))
    view = render_view(render_facade(style), np.random.default_rng(1), size=1024)

Facades: drawing.py (surfaces), buildings.py (buildings), views.py (photographs). Clips: settings.py
(places), movers.py (moving objects), clips.py (filming), frame_edits.py (edited frames). demo.py,
cover_demo.py and training_demo.py make datasets, with the folders of rendering.py.
"""

from deep_retrieval.scenes.buildings import Facade, Style, look_alike, random_style, render_facade
from deep_retrieval.scenes.clips import Clip, make_clip, render_frame, write_video
from deep_retrieval.scenes.frame_edits import EDITS
from deep_retrieval.scenes.rendering import make_folder, run, save_jpeg
from deep_retrieval.scenes.settings import Scene, random_scene, similar_scene
from deep_retrieval.scenes.views import (
    View,
    grade,
    render_distractor,
    render_view,
    strange_facade,
    visible_share,
)
