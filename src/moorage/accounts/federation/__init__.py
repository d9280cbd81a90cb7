"""Federation: the token of somebody else's issuer opens a robot account, by a rule.

claims.py     what a token has to say
rules.py      rules of robot accounts
exchange.py   a token of ours for a token of theirs
lending.py    what a token of ours opens, and for how long
"""

from moorage.accounts.federation.claims import Constraint
from moorage.accounts.federation.exchange import (
    Exchange,
    Exchanged,
    Verdict,
    judge,
)
from moorage.accounts.federation.lending import Lending
from moorage.accounts.federation.rules import FederationRules, Rule

__all__ = [
    "Constraint",
    "Exchange",
    "Exchanged",
    "FederationRules",
    "Lending",
    "Rule",
    "Verdict",
    "judge",
]
