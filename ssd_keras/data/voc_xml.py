"""Reading the .xml file of an annotation, in any encoding, as data that opens nothing else."""

from __future__ import annotations

import codecs
import os
import re
from xml.etree import ElementTree

from ssd_keras.data import text
from ssd_keras.data.source import LEFT_OUT, REFUSED, Problem
from ssd_keras.errors import UserError, one_line

# A thousand objects take less than a megabyte.
MAX_XML_BYTES = 32 << 20
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w.:-]{1,40})["']""")
# Names of encodings that XML may state, and what reads them.
_STATED = re.compile(
    r"[\w-]*\d+|(us-)?ascii|euc-?\w\w|ks[_\w-]*|gb\w*|big5|"
    r"shift[-_]jis|sjis|uhc|koi8-\w|johab",
    re.IGNORECASE,
)
_WIDER = {"euc_kr": "cp949", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932"}


def read_root(path: str, problems: list[Problem]) -> ElementTree.Element | None:
    """The root element of an annotation; None, and a problem, if there is none."""
    if not os.path.lexists(path):
        message = "the annotation file does not exist"
        problems.append(image_lost("missing_annotation", path, message, LEFT_OUT))
        return None
    try:
        root = _parse(path, problems)
    except (ElementTree.ParseError, UserError, ValueError, LookupError) as error:
        message = f"is no readable XML ({one_line(error)})"
        problems.append(image_lost("broken_annotation", path, message, REFUSED))
        return None
    if root.tag != "annotation":
        message = f"the root element is <{root.tag}>, not <annotation>"
        if root.tag == "annotations":
            message += ": export from CVAT as Pascal VOC or COCO"
        problems.append(image_lost("broken_annotation", path, message, REFUSED))
        return None
    return root


def image_lost(kind: str, path: str, message: str, action: str) -> Problem:
    return Problem(kind, path, message, action, image=os.path.basename(path), images_lost=1)


def _parse(path: str, problems: list[Problem]) -> ElementTree.Element:
    data = text.read_bytes(path, limit=MAX_XML_BYTES)
    content = _in_stated_encoding(data)
    if content is None:
        content = text.decode(data, path, problems)
    # An entity can stand for a file, or for a thousand others; no annotation needs one.
    if "<!ENTITY" in content:
        raise UserError("it declares entities, which no annotation needs")
    return ElementTree.fromstring(content.lstrip())


def _in_stated_encoding(data: bytes) -> str | None:
    """The text of an XML file that states another encoding than Unicode's."""
    stated = _ENCODING.match(data)
    name = stated.group(1).decode("ascii") if stated else "utf-8"
    if name.lower().startswith(("utf", "ucs")) or not _STATED.fullmatch(name):
        return None
    codec = codecs.lookup(name.replace("ks_c_5601-1987", "cp949")).name
    return data.decode(_WIDER.get(codec, codec))
