"""Doors, one for each framework or tool: what a service of that kind needs around a client.

Each needs the extra of its own name and imports nothing of the others: ``vwo_async.integrations.fastapi``.
"""
