"""Show rankings and groups: as HTML pages, as strips, and as folders of pictures.

show.py has one function per kind of output. pages.py writes galleries from the data that sources.py
reads, with template.py (page.html, script.js, style.css), thumbs.py and folder.py. picture.py draws
strips; answer_pictures.py and similar_clusters.py fill folders with pictures.
"""
