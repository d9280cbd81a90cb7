"""Usage in bytes and pulls, and the history of tags."""

from datetime import date

from moorage.portal.shapes.shape import Moment, Shape


class Usage(Shape):
    """Bytes, counted in several ways."""

    logical: int = 0
    unique: int = 0
    physical: int = 0
    shared: int = 0
    trash: int = 0


class PullDay(Shape):
    """What was pulled on one day."""

    day: date
    pulls: int = 0
    bytes: int = 0


class Pulled(Shape):
    """What was pulled under one name."""

    name: str = ""
    pulls: int = 0
    bytes: int = 0


class StorageDay(Shape):
    """Bytes as they were noted on one day."""

    day: date
    logical: int = 0
    unique: int = 0
    physical: int = 0
    shared: int = 0


class RepositoryStorage(Shape):
    """Bytes of a repository as they were noted last."""

    name: str = ""
    physical: int = 0
    shared: int = 0


class TagMove(Shape):
    """A tag that began to point elsewhere."""

    id: int = 0
    tag: str = ""
    kind: str = ""
    digest: str = ""
    previous: str = ""
    operator: str = ""
    time: Moment = None
