"""Tables that name every crop of a data set by digests, and their comparison with the crops that are here."""
