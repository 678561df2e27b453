"""HTML read strictly into a tree of nodes, for tests.

    page = read(Path('index.html').read_text())
    [image.attributes['src'] for image in page.all('img')]
"""

from html.parser import HTMLParser

VOID = {'br', 'hr', 'img', 'input', 'link', 'meta', 'wbr'}


class Node:
    """An element: tag, attributes, and children, which are nodes and texts."""

    def __init__(self, tag, attributes=()):
        self.tag, self.attributes, self.children = tag, dict(attributes), []

    def all(self, tag='', kind=''):
        """Elements below this one, in order, of a tag and of a class."""
        for child in self.children:
            if isinstance(child, Node):
                if tag in ('', child.tag) and kind in ('', *child.classes):
                    yield child
                yield from child.all(tag, kind)

    def one(self, tag='', kind=''):
        """The only one of `all`."""
        found, = self.all(tag, kind)
        return found

    @property
    def classes(self):
        return self.attributes.get('class', '').split()

    @property
    def text(self):
        """All text below, white space as a browser shows it."""
        return ' '.join(''.join(self._texts()).split())

    def _texts(self):
        for child in self.children:
            if isinstance(child, Node):
                yield from child._texts()
            else:
                yield child


def read(html):
    """The document as a node. ValueError for an end tag that does not fit, or a repeated id."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    if len(parser.open) > 1:
        raise ValueError(f'<{parser.open[-1].tag}> is not closed')
    ids = [node.attributes['id'] for node in parser.open[0].all() if 'id' in node.attributes]
    if len(set(ids)) < len(ids):
        raise ValueError(f'ids are repeated: {ids}')
    return parser.open[0]


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = [Node('document')]

    def handle_starttag(self, tag, attributes):
        if len(dict(attributes)) < len(attributes):
            raise ValueError(f'<{tag}> has an attribute twice: {attributes}')
        node = Node(tag, attributes)
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_endtag(self, tag):
        if self.open[-1].tag != tag:
            raise ValueError(f'</{tag}> ends <{self.open[-1].tag}> at {self.getpos()}')
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)
