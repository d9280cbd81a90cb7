"""Other registries."""

from pydantic import Field

from moorage.portal.shapes.shape import Moment, Shape


class RegistryName(Shape):
    """Another registry, by name."""

    id: int = 0
    name: str = ""


class Account(Shape):
    """As whom another registry is used."""

    access_key: str = ""
    access_secret: str = ""


class Registry(RegistryName):
    """Another registry."""

    url: str = ""
    type: str = ""
    credential: Account = Account()
    insecure: bool = False
    ca_certificate: str = ""
    description: str = ""
    status: str = ""
    creation_time: Moment = None


class Place(Shape):
    """Where registries of a kind are."""

    key: str = ""
    value: str = ""


class Places(Shape):
    """The places to choose from."""

    endpoints: list[Place] = Field(default_factory=list)


class Provider(Shape):
    """A kind of registries."""

    endpoint_pattern: Places = Places()
