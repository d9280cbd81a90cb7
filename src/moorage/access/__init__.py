"""Who may do what: rules only, no I/O.

principals.py   who acts
roles.py        the permission matrix of the project roles, and what robot accounts may hold
scopes.py       what a client asks the token service for
tokens.py       signed tokens: issue, verify
"""
