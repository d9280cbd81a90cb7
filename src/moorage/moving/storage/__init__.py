"""Taking over what another registry has stored: its files or its bucket, in place.

layout      what its paths mean
inventory   what is there, in a file of its own, so that memory stays flat
filing      steps: rows for manifests, blobs and tags that are there already
adoption    the three phases, and the report
"""
