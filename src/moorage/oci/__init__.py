"""Names, digests, media types and manifests of the OCI specifications; pure functions."""
