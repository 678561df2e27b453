"""Rankings and groups to look at: HTML pages, strips, and folders of pictures.

pages.py writes a gallery of what sources.py reads, by template.py (page.html, script.js,
style.css), thumbs.py and folder.py. picture.py draws strips; answer_pictures.py and
similar_clusters.py fill folders.
"""
