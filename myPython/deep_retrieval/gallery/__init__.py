"""Rankings and groups to look at: HTML pages, strips, and folders of pictures.

show.py has one function per kind of output. pages.py writes galleries of what sources.py reads,
with template.py (page.html, script.js, style.css), thumbs.py and folder.py. picture.py draws
strips; answer_pictures.py and similar_clusters.py fill folders.
"""
