"""What is asked of a project, of a plain one and of a cache alike."""

from moorage.portal.parts import Field
from moorage.portal.visits import Visit


def name_field(visit: Visit) -> Field:
    """Its name, once and for all."""
    _ = visit.gettext
    rules = _("Lower case letters, digits, dots, dashes and underscores.")
    return Field("name", _("Name"), required=True, help=rules)


def public_field(visit: Visit, *, public: bool = False) -> Field:
    """Who may pull."""
    _ = visit.gettext
    anybody = _("Anybody can pull, without signing in.")
    return Field("public", _("Public"), "checkbox", public, help=anybody)


def limit_field(visit: Visit) -> Field:
    """How much it may hold; administrators say so."""
    _ = visit.gettext
    sizes = _("Such as 512 MiB or 1.5 GiB. Empty for the default, -1 for no limit.")
    return Field("limit", _("Quota"), help=sizes)
