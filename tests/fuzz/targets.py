"""Every reader of bytes that strangers write, or that a disk may have damaged.

A new reader gets a `Target` in one of these modules: seeds, odd structures, and a function that takes bytes and an
empty folder.
"""

import of_archives
import of_media
import of_releases
import of_results
import of_texts

TARGETS = {
    target.name: target
    for module in (of_texts, of_releases, of_archives, of_media, of_results)
    for target in module.TARGETS
}
