"""Texts of a valid structure with odd values in it. Hypothesis draws them."""

import json
from collections.abc import Sequence
from typing import Any

import seeds
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from odd_values import Files, deep, nested, numbers, real, whole, words
from ruamel.yaml import YAML


def _saved(text: str, how: str) -> bytes:
    return text.encode(how, "surrogatepass" if how.startswith("utf") else "replace")


def saved(text: SearchStrategy[str]) -> Files:
    """The text in the encodings and with the line ends that programs write."""
    ends = st.sampled_from(["\n", "\r\n", "\r", "\n\n"])
    how = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
    return st.builds(lambda text, end, how: _saved(text.replace("\n", end), how), text, ends, how)


def tables_of(header: Sequence[str], separators: str = ",;\t") -> Files:
    """Texts of cells between separators, with the header or without."""
    row = st.lists(numbers, min_size=0, max_size=len(header) + 2)
    lines = st.builds(
        lambda header, rows, separator: "\n".join(separator.join(row) for row in [*header, *rows]),
        st.sampled_from([[list(header)], []]),
        st.lists(row, max_size=4),
        st.sampled_from(separators),
    )
    return saved(lines)


def registries() -> Files:
    size = st.one_of(st.just("-"), whole.map(str), words)
    digest = st.one_of(
        st.just("-"), st.sampled_from(["md5:" + "0" * 32, "sha256:" + "0" * 64, "sha1:", "md5:" + "g" * 32]), words
    )
    line = st.tuples(words, size, digest, st.sampled_from(["VGG", "vgg", "V-1", "", "#"])).map(" ".join)
    return saved(st.lists(line, max_size=6).map("\n".join))


def points() -> Files:
    one = st.one_of(real.map(repr), whole.map(str), st.sampled_from(["1.5"]))
    pairs = st.integers(66, 70).flatmap(
        lambda count: st.lists(st.tuples(one, one).map(" ".join), min_size=count, max_size=count)
    )
    head = st.sampled_from(
        ["version: 1\nn_points:  68\n{\n", "{", "", "{\n{\n", "version: 1\nn_points: 999999999\n{\n"]
    )
    return saved(
        st.builds(
            lambda head, pairs, tail: head + "\n".join(pairs) + tail,
            head,
            pairs,
            st.sampled_from(["\n}\n", "", "}}", "}\0"]),
        )
    )


@st.composite
def parameters(draw: Any) -> bytes:
    """params.yaml with odd values at a few of its names."""
    values = YAML(typ="safe").load(seeds.parameters()[0])
    for _ in range(draw(st.integers(1, 3))):
        at: Any = values
        while True:
            keys = sorted(at, key=str) if isinstance(at, dict) else range(len(at))
            key = draw(st.sampled_from(list(keys)))
            if not (isinstance(at[key], dict | list) and at[key] and draw(st.integers(0, 9))):
                break
            at = at[key]
        if draw(st.booleans()):
            at[key] = draw(nested)
        elif isinstance(at, dict):
            at[draw(words)] = draw(nested)
    text = json.dumps(values, default=str)
    return text.replace("Infinity", ".inf").replace("NaN", ".nan").encode("utf-8", "replace")


@st.composite
def answers(draw: Any) -> bytes:
    """Answers of a server with odd headers."""
    names = st.sampled_from(
        [
            "Content-Length",
            "Content-Range",
            "ETag",
            "Last-Modified",
            "Retry-After",
            "Location",
            "Transfer-Encoding",
            "Content-Encoding",
            "Content-Type",
            "Set-Cookie",
            "Connection",
            "WWW-Authenticate",
        ]
    )
    values = st.one_of(
        numbers,
        st.builds("bytes {}-{}/{}".format, whole, whole, whole),
        st.sampled_from(
            [
                "chunked",
                "gzip",
                "identity",
                "text/html",
                '"1"',
                "http://other.example/",
                "//[",
                "http://[::1",
                "Sun, 06 Nov 1994 08:49:37 GMT",
            ]
        ),
    )
    status = draw(st.one_of(st.sampled_from([200, 206, 206, 301, 302, 401, 404, 416, 429, 503]), st.integers(0, 1200)))
    lines = [
        f"HTTP/1.1 {status} {draw(words)}",
        *(f"{draw(names)}: {draw(values)}" for _ in range(draw(st.integers(0, 5)))),
    ]
    head = "\r\n".join(lines).encode("utf-8", "replace")
    return (
        head
        + b"\r\n\r\n"
        + draw(
            st.one_of(st.binary(max_size=40), st.sampled_from([b"abcd", b"4\r\nabcd\r\n0\r\n\r\n", b"FFFFFFFF\r\n"]))
        )
    )


def addresses() -> Files:
    host = st.one_of(
        words,
        st.sampled_from(
            ["127.0.0.1", "[::1]", "0x7f.1", "2130706433", "[::ffff:10.0.0.1]", "localhost.", "a.example:99999"]
        ),
    )
    return st.builds(
        lambda *parts: "".join(parts).encode("utf-8", "surrogatepass"),
        st.sampled_from(["http://", "https://", "", "//", "ftp:"]),
        host,
        words,
    )


def documents() -> Files:
    """JSON of any shape."""
    return st.one_of(nested.map(json.dumps), deep, st.lists(nested.map(json.dumps), max_size=3).map("\n".join)).map(
        str.encode
    )
