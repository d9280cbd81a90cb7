"""Carrying a Harbor over, by its REST API: what it answers is sent to ours, which is the same.

client      one Harbor, theirs or ours
carrying    what is carried, in which order
robots      robot accounts, with new secrets
others      the registries that it knows, and what it replicates
report      what was carried, and what was not
"""
