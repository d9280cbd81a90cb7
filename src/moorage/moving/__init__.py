"""Moving a whole installation: into a backup and back, and to another database and store.

rows        tables in the order of their references, their rows in a form for both databases
objects     the bytes, copied beside one another and compared with their digests
places      a folder or a bucket, as an operator names one
backup ─► restore          dumps and objects at a place
transfer                   from one installation straight into an empty one, resumable
"""
