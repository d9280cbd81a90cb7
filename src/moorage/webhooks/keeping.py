"""Which secrets a target of a policy keeps when the policy is saved and they are not said anew.

the same kind, address, format and verification    its own
the same address, and as many targets of it        its own, by their order
verification switched off                          none: they must be given again
some targets of an address gone, which is unclear  none: they must be given again
another address                                    none
"""

from collections.abc import Sequence

from moorage.errors import Invalid
from moorage.webhooks.records import Target

Secrets = tuple[str, str]
"""Of a target: `auth_header` and `secret`; empty: none."""


def kept(targets: Sequence[Target], before: Sequence[Target]) -> list[Secrets]:
    """The secrets of each of the targets; `before` are those of now, opened. Raises Invalid."""
    return [
        _secrets(target, old)
        for target, old in zip(targets, _predecessors(targets, before), strict=True)
    ]


def _predecessors(targets: Sequence[Target], before: Sequence[Target]) -> list[Target | None]:
    """For each target the one that it was."""
    found: list[Target | None] = [None] * len(targets)
    for address in {target.address for target in targets}:
        new = [number for number, each in enumerate(targets) if each.address == address]
        old = [each for each in before if each.address == address]
        if len(new) < len(old):
            _refuse_unclear([targets[number] for number in new], old)
        # First what is as it was, then by the order.
        open_ = []
        for number in new:
            same = next((each for each in old if _looks(each) == _looks(targets[number])), None)
            if same is None:
                open_.append(number)
            else:
                found[number] = same
                old = [each for each in old if each is not same]
        for number, each in zip(open_, old, strict=False):
            found[number] = each
    return found


def _looks(target: Target) -> tuple[str, str, str, bool]:
    """All of a target that is shown."""
    return target.kind, target.address, target.format, target.skip_cert_verify


def _refuse_unclear(new: Sequence[Target], old: Sequence[Target]) -> None:
    """Of several targets with one address some go: nobody can tell whose secrets stay."""
    for name in ("auth_header", "secret"):
        differ = len({getattr(each, name) or "" for each in old}) > 1
        if differ and any(getattr(each, name) is None for each in new):
            raise Invalid(f"{name}: there were several targets at {new[0].address}: give it again")


def _secrets(target: Target, old: Target | None) -> Secrets:
    if old is not None and target.skip_cert_verify and not old.skip_cert_verify:
        for name in ("auth_header", "secret"):
            if getattr(old, name) and getattr(target, name) is None:
                raise Invalid(
                    f"{name} was given for a server whose certificate is verified: "
                    "give it again to switch that off"
                )
    header, secret = target.auth_header, target.secret
    if old is not None:
        header = old.auth_header if header is None else header
        secret = old.secret if secret is None else secret
    return header or "", secret or ""
