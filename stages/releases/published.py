"""What a release lacks of what its owner published: with an easier test set, results look better than they are.

A release is the owner's if one part of it is whole or half of all is there: each other part has to be whole, too. A
smaller one is a sample, of which no more is asked than that no part is missing where most parts are there.
"""

import logging
from collections.abc import Iterator, Mapping

from stages.releases.readers import Reject

log = logging.getLogger(__name__)


def lacking(dataset: str, found: Mapping[str, int], published: Mapping[str, int]) -> Iterator[Reject]:
    """A reject for each part with fewer items than its owner published; `published`: part -> how many, as `found`."""
    counts = {part: found.get(part, 0) for part in published}
    is_whole = any(counts[part] >= published[part] for part in published)
    is_owners = is_whole or 2 * sum(counts.values()) >= sum(published.values())
    has_most = 2 * sum(map(bool, counts.values())) > len(published)
    for part, count in published.items():
        if counts[part] < count and (is_owners or not counts[part]):
            share = f"{counts[part]:,} of {count:,}"
            log.warning("%s: %s: the release holds %s that its owner published", dataset, part, share)
            if is_owners or has_most:
                yield Reject(share, f"incomplete: {part}", "the others that its owner published are not in the release")
    if not is_owners:
        log.info(
            "%s: a sample: %d of %d that its owner published", dataset, sum(counts.values()), sum(published.values())
        )
