"""Files that nobody released: what systems, viewers and loaders leave beside the data.

Every reader of a folder or an archive leaves them aside without a word: they are no loss. This is the only such rule.
"""

import re

_SUFFIXES_OF_MEDIA = r"\.(jpe?g|jfif|png|bmp|tiff?|gif|webp|hei[cf]|avif|mp4|m4v|mov|avi|mkv|webm|mpe?g|wmv|ts)"
_ANYWHERE = re.compile(  # one part of a path: whatever lies below such a folder is a stranger too
    r"\.(?!\.?$).*"  # hidden, as `.DS_Store` and macOS's `._x` are; `.` and `..` are no names
    r"|__MACOSX|@eaDir|@__thumb|[@#]recycle|[@#](Recently-)?snapshot|\$RECYCLE\.BIN|System Volume Information"
    r"|lost\+found|__pycache__|VISITED",
    re.IGNORECASE | re.DOTALL,
)
_FILE = re.compile(
    r"(eh)?thumbs.*\.db|desktop\.ini|picasa\.ini|icon\r?|.*[:.]?zone\.identifier|.*@SynoEAStream"
    r"|~\$.*|.*~|.*\.(lnk|url|webloc|swp)"
    rf"|read[ _-]?me(?!.*{_SUFFIXES_OF_MEDIA}$).*"
    r"|(licen[cs]e|copying|copyright)(\.(txt|md|html?|pdf|rtf))?",
    re.IGNORECASE | re.DOTALL,
)


def is_stranger(name: str) -> bool:
    """Whether a path within a release or an archive is that of a stranger; the path of a folder ends in a slash."""
    *folders, file = name.replace("\\", "/").split("/")
    return any(_ANYWHERE.fullmatch(part) for part in (*folders, file)) or _FILE.fullmatch(file) is not None
