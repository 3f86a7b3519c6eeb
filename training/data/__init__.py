"""From videos, images and published data sets to an index of aligned crops."""
