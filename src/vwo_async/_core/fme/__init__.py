"""How VWO FME decides a feature flag: pure and synchronous, like the whole core.

The rules are those of docs/fme-reference.md, whose sections begin with F.
"""
