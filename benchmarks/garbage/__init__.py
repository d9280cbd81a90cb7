"""How fast garbage is collected: on rows alone at any scale, and beside a peer on a real store.

rows      a database of so many blobs, made by statements, over a store that does nothing
peer      the same images in Debian's docker-registry and in Moorage, both on one S3 server
"""
