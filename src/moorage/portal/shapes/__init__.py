"""What the API answers, as far as pages read it: a module for each subject, made of `shape`.

    installation                 what it is and how it is, its log
    accounts                     people, groups, robot accounts, tokens
    projects ─► registries       members, quotas; other registries
    artifacts, usage             repositories and what is in them; bytes, pulls, moves of tags
    rules                        retention, immutability
    replication ─► registries    its rules and runs
    webhooks, jobs               whom they tell; what runs

A field that an answer leaves out has its zero.
"""
