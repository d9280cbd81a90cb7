"""Repositories and what is in them.

    uploads ──► blobs ──► manifests ──► removal ──► trash
                  │           │
    pulls ◄───────┴───────────┴── kinds (what may be cached)      listing, repositories, catalogue

`uploads`, `manifests` and `pulls` are flows for the faces; the others hold their steps.
"""
