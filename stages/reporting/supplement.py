"""Numbers of images in the paper's supplement, for comparison with ours.

They contradict each other in places; `data/README.md` states the rule that we follow.
"""

# (data set, split) -> images
COUNTS = {
    ("affectnet", "train"): 287_055,  # probably the whole usable list: 57,411 is exactly a fifth of it
    ("affectnet", "val"): 57_411,
    ("affectnet", "test"): 3_989,  # 8 x 500, less 11 without a detected face
    ("emotionet", "train"): 743_033,
    ("emotionet", "val"): 185_759,
    ("emotionet", "test"): 25_517,  # of the manual list of 2017; that of 2020 holds 24,600
    ("mafl", "train"): 19_000,
    ("mafl", "test"): 1_000,
    ("w300", "train"): 3_148,
    ("w300", "test"): 689,
}
