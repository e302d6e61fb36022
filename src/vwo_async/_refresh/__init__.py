"""Where settings files come from and when they are fetched again.

Fetch: one request to VWO. Update: put a fetched file in force. Refresh: fetch and update. Poll: refresh at
intervals.
"""
