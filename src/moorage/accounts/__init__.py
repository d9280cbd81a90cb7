"""Accounts: users and robots, their secrets, and the keys of this installation.

records.py     frozen values that leave this package
passwords.py   hashes: Argon2id for what people choose, a salted digest for what we made
secretbox.py   what the database must not hold in the clear
keys.py        signing keys in the database; one secret_key for all replicas
standing.py    the state of an account, cached and marked
users.py       robots.py   make, find, list, change, delete
permissions.py rights of robot accounts: what may be granted, and by whom
logins.py      credentials to a principal; guesses are counted in the database
bootstrap.py   the first start
"""
