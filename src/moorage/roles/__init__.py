"""What each process mounts and runs.

opening     settings ─► database, store, cache, bell, closed in reverse
resources   those ─► keys ─► the objects of the domain
faces       which paths each role answers
background  which work each role does by itself
server      start, wait for the database, serve, drain, close in reverse
"""
