"""Where clients get what they show elsewhere.

token.py      GET and POST /service/token: credentials for a token of the registry
exchange.py   POST /service/token/exchange: a workload's token for one of ours
"""
