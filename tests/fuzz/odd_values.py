"""Values that are odd: numbers, words, and anything nested. Hypothesis draws them."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from mutations import EDGES

whole = st.one_of(st.sampled_from([-1, *EDGES]), st.integers(-(2**70), 2**70), st.integers(0, 99))

bits = {
    size: st.one_of(st.sampled_from(EDGES), st.integers(0, 300)).map(lambda n, size=size: n % 2**size)
    for size in (8, 16, 32, 64)
}

real = st.floats(allow_nan=True, allow_infinity=True)

ODD_WORDS = (
    "",
    " ",
    "..",
    "../../x",
    "/x",
    "C:\\x",
    "a" * 300,
    "9" * 5000,
    "1e999",
    "nan",
    "\0",
    "\u202e",
    "é",
    "e\u0301",
    "\U0001f600",
    "\ufeff",
    "a\nb",
    "\x1b[31m",
    '"',
    "'",
    "=cmd|x",
    "%00",
    "con",
    "\udcff",
    "١",
    "<script>",
)

words = st.one_of(
    st.sampled_from(ODD_WORDS), st.text(max_size=12), st.from_regex(r"[0-9A-Za-z_./-]{1,12}", fullmatch=True)
)

numbers = st.one_of(whole.map(str), real.map(repr), words)

plain = st.one_of(st.none(), st.booleans(), whole, real, words)

nested = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)), max_leaves=8
)

deep = st.sampled_from([100, 5000, 100_000]).map(lambda depth: "[" * depth + "]" * depth)

Files = SearchStrategy[bytes]


def printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "_")[:60_000]
