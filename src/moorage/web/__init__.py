"""What the faces share: who calls, request ids, addresses, paging. All of it bare ASGI."""
