"""Deep image retrieval: descriptors of images, rankings, near-duplicates, training."""
