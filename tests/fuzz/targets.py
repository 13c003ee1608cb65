"""Every reader of bytes that strangers write, or that a disk may have damaged.

A new reader gets a `Target` in one of these modules: seeds, odd structures, and a function that takes bytes and an
empty folder.
"""

import of_archives
import of_media
import of_releases
import of_results
import of_texts

GROUPS = {
    "texts of users, addresses and answers of servers": of_texts.TARGETS,
    "lists and annotations of data sets": of_releases.TARGETS,
    "archives": of_archives.TARGETS,
    "images, videos and shards": of_media.TARGETS,
    "tables, journals, models and weights": of_results.TARGETS,
}
TARGETS = {target.name: target for group in GROUPS.values() for target in group}
