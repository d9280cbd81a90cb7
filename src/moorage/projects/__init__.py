"""Projects: members, metadata, quota, and what each caller may do in them.

records.py    frozen values that leave this package
kinds.py      what is cached about a project and who marks it
grants.py     caller x project -> (resource, action) pairs
projects.py   create, find, list, update, delete
members.py    who has which role
labels.py     labels of a project, and the global ones
holding.py    keeps a project while something is added to it
metadata.py   the settings of a project, as strings
selectors.py  conditions on tags and repositories, of which rules are made
immutability.py  rules after which tags neither move nor go
quota.py      steps that count bytes inside the transaction of a push or a delete
"""
