"""The limits that are no settings, for docs/reference: what, how much, why it is fixed."""

from moorage import patterns
from moorage.access import jwts, scopes
from moorage.accounts import attempts
from moorage.api import paths
from moorage.artifacts import attributes, copying, details, finding, layers, tagnames
from moorage.artifacts import labels as artifact_labels
from moorage.artifacts.types import archives, documents, processor
from moorage.distribution import listing, referrers
from moorage.distribution.options import Options
from moorage.oci import manifest, names
from moorage.portal import parts, prose, streams
from moorage.projects import immutability, labels, selectors
from moorage.roles.connections import BoundedConnection
from moorage.signin import forms
from moorage.web import bounds, paging


def size(count: int) -> str:
    """Bytes as people say them."""
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


CLIENTS = "Clients are written for it."
MEMORY = "Bounds the memory of one request."
PUSHERS = "Whoever pushes does not decide how long others wait."
RULES = "Each rule is tried when a tag is moved or deleted."
SLOW = "No network that works is slower; what is, would keep a connection for nothing."
GUESSING = "Slows down guessing, and locks nobody out for good."

LIMITS = (
    ("Manifest", size(manifest.MAX_BYTES), CLIENTS),
    ("Layers of an image", str(manifest.MAX_LAYERS), MEMORY),
    ("Manifests in an index", str(manifest.MAX_CHILDREN), MEMORY),
    ("Indexes within indexes", str(manifest.MAX_INDEX_DEPTH), MEMORY),
    ("Name of a repository", f"{names.MAX_REPOSITORY} characters", CLIENTS),
    ("Tags in one answer", str(listing.MAX_TAGS), MEMORY),
    (
        "Repositories in one answer",
        f"{listing.DEFAULT_REPOSITORIES}, or up to {listing.MAX_REPOSITORIES} with `n`",
        MEMORY,
    ),
    ("Referrers in one answer", size(referrers.MAX_BYTES), MEMORY),
    ("Immutable tag rules of a project", str(immutability.MAX_RULES), RULES),
    ("Selectors of each sort in a rule", str(selectors.MAX_SELECTORS), RULES),
    ("Pattern in a rule", f"{patterns.MAX_LENGTH} characters", RULES),
    ("Page of the REST API", f"{paging.MAX_PAGE_SIZE} entries", CLIENTS),
    ("Artifacts that a search counts", str(finding.MOST), "Who has more of them says more."),
    (
        "Pages followed live, on one replica of the portal",
        f"{streams.OF_A_SESSION} of a session, {streams.OF_AN_ADDRESS} of an address",
        "Each costs a look every two seconds.",
    ),
    (
        "README or description in the portal",
        f"{size(prose.LONGEST)}; what takes the parser longer than {prose.SECONDS:g} s is shown "
        "as it was written",
        PUSHERS,
    ),
    ("Annotations, labels or variables in a part of a page", str(parts.MOST_LINES), PUSHERS),
    (
        "Steps of a build that are listed with its layers",
        f"{layers.MAX_STEPS}; of one with more, the layers alone",
        PUSHERS,
    ),
    (
        "Annotations and attributes in a page of artifacts",
        f"{size(details.MAX_TEXTS)}; the artifacts behind them are listed without theirs",
        MEMORY,
    ),
    (
        "Tags that are in the order of their versions",
        f"{tagnames.MAX_VERSIONS}; of a repository with more, the last pushed comes first",
        MEMORY,
    ),
    ("Children of indexes that one answer describes", str(details.MAX_CHILDREN), MEMORY),
    (
        "Accessories of accessories in one answer",
        f"{details.MAX_ATTACHED} of each level, {details.LEVELS} levels",
        "Anybody who may push may hang a lot onto an image.",
    ),
    (
        "Label",
        f"name {labels.MAX_NAME}, description {labels.MAX_DESCRIPTION}, "
        f"color {labels.MAX_COLOR} characters",
        MEMORY,
    ),
    ("Labels of an artifact", str(artifact_labels.MAX_LABELS), MEMORY),
    ("Config that is read for the attributes of an artifact", size(processor.MAX_CONFIG), MEMORY),
    (
        "Configs that one answer reads for the first time",
        f"{size(attributes.ROOM)}, {attributes.SECONDS:g} s; the next answer reads on",
        "A list is not held up.",
    ),
    ("Addition that is no bill of materials", size(processor.MAX_DOCUMENT), MEMORY),
    (
        "Package that an addition is taken from",
        f"{size(archives.MAX_PACKED)}, unpacked {size(archives.MAX_UNPACKED)} and "
        f"{archives.MAX_RATIO} times its size, {archives.MAX_ENTRIES} entries, "
        f"{archives.MAX_DEPTH} folders deep",
        "Bounds what a bomb costs.",
    ),
    (
        "YAML that an addition is made of",
        f"{size(documents.MAX_YAML)}, {documents.MAX_DEPTH} levels, no aliases",
        "Bounds what a bomb costs.",
    ),
    (
        "Manifests of one copy",
        f"{copying.MAX_MANIFESTS}, {copying.MAX_LEVELS} levels",
        "Anybody who may push may hang a lot onto an image.",
    ),
    ("Body of a REST request", size(paths.MAX_BODY), MEMORY),
    ("Form of a sign-in", size(forms.MAX_FORM), MEMORY),
    ("Scopes of one token", str(scopes.MAX_SCOPES), MEMORY),
    ("Token", size(jwts.MAX_LENGTH), "Proxies cut off longer headers."),
    (
        "Head of a request",
        f"{size(BoundedConnection.HEAD_BYTES)}, {BoundedConnection.HEADERS} headers, "
        f"{BoundedConnection.HEAD_SECONDS:g} s",
        MEMORY,
    ),
    ("Time for the body of a request that is no push", f"{bounds.BODY_SECONDS:g} s", SLOW),
    (
        "Least speed of a push",
        f"{Options().min_rate} bytes a second over `uploads.stall_seconds`",
        SLOW,
    ),
    (
        "Answer that nobody reads",
        f"{BoundedConnection.STALL_SECONDS:g} s",
        "Longer than any client pauses.",
    ),
    (
        "Body of a refused push that is still read",
        f"{size(Options().drain_bytes)}, {Options().drain_seconds:g} s",
        "Lets a proxy pass the refusal on, and costs little.",
    ),
    ("Wrong passwords without a wait", str(attempts.FREE), GUESSING),
    ("Longest wait after wrong passwords", f"{attempts.LONGEST_WAIT:g} s", GUESSING),
    ("Wrong passwords are forgotten", f"after {attempts.FORGET:g} s", GUESSING),
)
