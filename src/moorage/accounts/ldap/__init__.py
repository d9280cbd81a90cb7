"""Sign-in by an LDAP server.

LdapAccounts    accounts of people that the directory knows
Ldap            questions to the directory, in threads of their own
Directory       one connection, blocking; the only room that knows the library
"""

from moorage.accounts.ldap.accounts import LdapAccounts
from moorage.accounts.ldap.client import Ldap
from moorage.accounts.ldap.settings import LdapSettings, Person

__all__ = ["Ldap", "LdapAccounts", "LdapSettings", "Person"]
