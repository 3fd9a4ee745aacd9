"""A YAML text as a tree in which every value knows its place.

Built from the parser's events instead of PyYAML's own composer: so nesting is bounded, aliases
cannot recurse or multiply, keys given twice are seen, and scalars keep their text.
"""

import re
from typing import Any, Final

import attrs
import yaml

MAX_DEPTH: Final = 60
MAX_SIZE: Final = 500_000
"""Most values in a document, those that aliases repeat counted each time."""

_SCALARS: Final = frozenset(
    f"tag:yaml.org,2002:{t}" for t in ("str", "int", "float", "bool", "null")
)
_MAP: Final = "tag:yaml.org,2002:map"
_SEQ: Final = "tag:yaml.org,2002:seq"
_PLAIN_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z")
_PLAIN_FLOAT: Final = re.compile(r"[-+]?([0-9][0-9_]*)?(\.[0-9_]*)?([eE][-+]?[0-9]+)?\Z")


@attrs.frozen(order=True)
class Mark:
    """A place in a file; both numbers count from 0."""

    line: int = 0
    column: int = 0


Path = tuple[str | int, ...]


@attrs.frozen
class Fault:
    """One thing that is wrong, and where."""

    mark: Mark
    path: Path
    message: str

    def render(self, file: str) -> str:
        """Write it as ``file:line:column: path: message``."""
        # A key may hold anything, line breaks too: a fault stays on its line.
        keys = [key if key.isprintable() and key else repr(key) for key in map(str, self.path)]
        place = ".".join(keys) or "(top)"
        return f"{file}:{self.mark.line + 1}:{self.mark.column + 1}: {place}: {self.message}"


@attrs.define(eq=False)
class Scalar:
    """A text, number, boolean or null, with the text it was written as."""

    mark: Mark
    value: str | int | float | bool | None
    text: str


@attrs.define(eq=False)
class Sequence:
    """A list."""

    mark: Mark
    items: "list[Tree]" = attrs.field(factory=list)


@attrs.define(eq=False)
class Entry:
    """A key of a mapping and its value."""

    mark: Mark
    value: "Tree"


@attrs.define(eq=False)
class Mapping:
    """A mapping, in the order of the file; merge keys (``<<``) are resolved."""

    mark: Mark
    entries: dict[str, Entry] = attrs.field(factory=dict)

    def get(self, key: str) -> "Tree | None":
        """The value of *key*, or None."""
        entry = self.entries.get(key)
        return entry.value if entry else None


Tree = Scalar | Sequence | Mapping


class DocumentError(Exception):
    """The text has faults that leave no tree to look at further."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def read_document(text: str) -> tuple[Tree, list[Fault]]:
    """Parse *text*; an empty one is an empty mapping.

    Returns:
        The tree, and the faults that do not keep it from being looked at: keys given twice,
        keys that are no text.

    Raises:
        DocumentError: no YAML, more than one document, too deep, too big, a recursive alias.
    """
    # The parsers count positions of these in their own ways, so look first.
    if bad := yaml.reader.Reader.NON_PRINTABLE.search(text):
        before = text[: bad.start()]
        mark = Mark(before.count("\n"), len(before) - before.rfind("\n") - 1)
        raise DocumentError(
            Fault(mark, (), f"character U+{ord(bad.group()):04X} is not allowed in YAML")
        )
    reader = _Reader(text)
    try:
        return reader.document(), reader.faults
    except yaml.MarkedYAMLError as error:
        mark = _mark(error.problem_mark or error.context_mark)
        context = f" {error.context}" if error.context else ""
        raise DocumentError(Fault(mark, (), f"not YAML: {error.problem}{context}")) from None


def _mark(mark: Any) -> Mark:
    return Mark(mark.line, mark.column) if mark is not None else Mark()


class _Reader:
    def __init__(self, text: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events = yaml.parse(text, Loader=loader)
        self._types: Any = yaml.SafeLoader("")
        self._anchors: dict[str, Tree | None] = {}
        self._sizes: dict[int, int] = {}
        self.faults: list[Fault] = []

    def document(self) -> Tree:
        tree: Tree | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if tree is not None:
                    raise self._fatal(
                        event, (), "a second document starts: one file is one document"
                    )
                tree = self._node(next(self._events), (), 0)
        if tree is None or (isinstance(tree, Scalar) and tree.value is None):
            return Mapping(Mark())
        return tree

    def _node(self, event: Any, path: Path, depth: int) -> Tree:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        if depth > MAX_DEPTH:
            raise self._fatal(event, path, f"nested more than {MAX_DEPTH} levels deep")
        if event.anchor:
            self._anchors[event.anchor] = None
        node: Tree
        match event:
            case yaml.ScalarEvent():
                node = self._scalar(event, path)
                size = 1
            case yaml.SequenceStartEvent():
                node, size = self._sequence(event, path, depth)
            case _:
                node, size = self._mapping(event, path, depth)
        if size > MAX_SIZE:
            raise self._fatal(
                event, path, f"more than {MAX_SIZE} values, aliases counted each time"
            )
        self._sizes[id(node)] = size
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: Any, path: Path) -> Tree:
        # What looks like an alias may be an unquoted password: it is not repeated.
        if event.anchor not in self._anchors:
            raise self._fatal(
                event,
                path,
                "alias of an anchor that does not exist; quote a text that starts with '*'",
            )
        node = self._anchors[event.anchor]
        if node is None:
            raise self._fatal(event, path, "alias within its own anchor: it would have no end")
        return node

    def _scalar(self, event: Any, path: Path) -> Scalar:
        mark, text = _mark(event.start_mark), event.value
        tag = event.tag
        if tag is None or tag == "!":
            tag = self._types.resolve(yaml.ScalarNode, text, event.implicit)
        if tag == "tag:yaml.org,2002:merge":
            tag = "tag:yaml.org,2002:str"
        if tag not in _SCALARS:
            kind = "dates are" if event.tag is None else "tags ('!') are"
            self.faults.append(Fault(mark, path, f"{kind} not known here; quote the text"))
            return Scalar(mark, text, text)
        if tag.endswith((":int", ":float")) and not _is_plain_number(tag, text):
            # YAML 1.1 reads 010 as 8 and 1:30 as 90.
            return Scalar(mark, text, text)
        try:
            value = self._types.construct_object(yaml.ScalarNode(tag, text))
        except (yaml.YAMLError, ValueError, KeyError, IndexError, OverflowError):
            self.faults.append(Fault(mark, path, f"not a value of the type {event.tag or tag}"))
            value = text
        return Scalar(mark, value, text)

    def _sequence(self, event: Any, path: Path, depth: int) -> tuple[Sequence, int]:
        self._check_tag(event, path, _SEQ)
        node, size = Sequence(_mark(event.start_mark)), 1
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            node.items.append(child := self._node(item, (*path, len(node.items)), depth + 1))
            size += self._sizes[id(child)]
        return node, size

    def _mapping(self, event: Any, path: Path, depth: int) -> tuple[Mapping, int]:
        self._check_tag(event, path, _MAP)
        node, size = Mapping(_mark(event.start_mark)), 1
        merged: list[Entry] = []
        while not isinstance(key_event := next(self._events), yaml.MappingEndEvent):
            key = self._node(key_event, path, depth + 1)
            name = key.value if isinstance(key, Scalar) and isinstance(key.value, str) else None
            step = path if name is None else (*path, name)
            mark = _mark(key_event.start_mark)
            value = self._node(next(self._events), step, depth + 1)
            size += self._sizes[id(value)] + 1
            if name is None:
                shown = f", not {key.text[:60]!r}; quote it" if isinstance(key, Scalar) else ""
                self.faults.append(Fault(mark, path, f"a key must be text{shown}"))
            elif name == "<<" and getattr(key_event, "implicit", (False,))[0]:
                merged.append(Entry(mark, value))
            elif name in node.entries:
                first = node.entries[name].mark.line + 1
                self.faults.append(
                    Fault(mark, path, f"key {name!r} is given twice (first on line {first})")
                )
            else:
                node.entries[name] = Entry(mark, value)
        for entry in merged:
            self._merge(node, entry, path)
        return node, size

    def _merge(self, node: Mapping, entry: Entry, path: Path) -> None:
        sources = entry.value.items if isinstance(entry.value, Sequence) else [entry.value]
        for source in sources:
            if not isinstance(source, Mapping):
                fault = Fault(entry.mark, (*path, "<<"), "only mappings can be merged")
                self.faults.append(fault)
                return
            for name, inherited in source.entries.items():
                node.entries.setdefault(name, inherited)

    def _check_tag(self, event: Any, path: Path, allowed: str) -> None:
        if event.tag not in (None, "!", allowed):
            mark = _mark(event.start_mark)
            self.faults.append(Fault(mark, path, "tags ('!') are not known here"))

    def _fatal(self, event: Any, path: Path, message: str) -> DocumentError:
        return DocumentError(Fault(_mark(event.start_mark), path, message))


def _is_plain_number(tag: str, text: str) -> bool:
    return bool(
        _PLAIN_INT.match(text)
        if tag.endswith(":int")
        else (_PLAIN_FLOAT.match(text) or text.lower().lstrip("+-") in (".inf", ".nan"))
    )
