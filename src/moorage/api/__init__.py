"""`/api/v2.0` as Harbor's clients know it, and `/api/version`.

    app.py        create_api(services): the application
    paths.py      what a path means before it is routed: escapes, double escapes, slashes
    services.py   the domain objects that the handlers call
    access.py     who calls and whether he may: dependencies of the handlers
    lists.py      the parameters and headers of every list
    wire.py       how values become JSON
    problems.py   how errors become answers

and one module per Harbor resource. A handler parses, calls the domain, renders.
"""
